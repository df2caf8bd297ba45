"""The folds' weights averaged into one network: what is left of the ensemble, on other sets.

    python -m benchmarks.weight_average --arrays ARRAYS --external NAME=CONFIG,DIR,ARRAYS ...
        --out results/benchmarks/weight_average.json

The mean of all members' parameters, and for BatchNorm's statistics either their mean or new ones of
--images training images. No image is held out by such a network, so nothing out of fold is defined:
only external sets count. Each is scored with one view by the ensemble, by each member alone (their
mean is what one member reaches) and by the average, and differences are paired by patients.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.facts import run_facts
from benchmarks.paired import compare_statistics
from benchmarks.shipped import WEIGHTS
from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.groups import join_groups
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.evaluation.calibration import plain_probabilities
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.models.classifier import make_classifier
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.backends.torch_members import TorchMembers, load_members
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.training.batchnorm import renew_statistics
from melanoma.types import Floats
from melanoma.workflows.mean_start import mean_weights

_BATCH = 64


def average_network(bundle: Bundle, array: ImageArray | None, *, images: int) -> TorchMembers:
    """The averaged network; its statistics are new ones of the array's rows where there is one."""
    network = make_classifier(bundle.backbone, outputs=bundle.outputs, head=bundle.head)
    network.load_state_dict(mean_weights(bundle.members), strict=False)  # but the counters
    network = network.to(memory_format=torch.channels_last)
    if array is not None:
        rows = np.random.default_rng(0).permutation(len(array.names))[:images]
        renew_statistics(network, array, rows, normalize=bundle.normalize, batch_size=_BATCH)
    cpu = torch.device("cpu")
    return TorchMembers({0: network.eval()}, normalize=bundle.normalize, device=cpu)


def score(
    members: TorchMembers, bundle: Bundle, array: ImageArray, rows: Any, shift: Any
) -> Floats:
    """(N, K) melanoma probabilities of each member, one view, uncalibrated."""
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    logits = np.concatenate([members.logits(array.rows(part), views=1) for part in parts])
    columns = bundle.melanoma_columns
    return np.stack(
        [
            plain_probabilities(logits[:, k] - np.asarray(shift[k]))[:, columns].sum(axis=1)
            for k in range(logits.shape[1])
        ],
        axis=1,
    )


def measure_set(bundle: Bundle, networks: dict[str, TorchMembers], given: str, most: int) -> Any:
    """What each reaches on one external set; `given` is NAME=CONFIG,DIR,ARRAYS."""
    name, _, places = given.partition("=")
    config, data, arrays = (Path(part) for part in places.split(","))
    recipe = load_recipe(config)
    table = read_lesions(data, recipe.data, classes=recipe.classes)
    image = recipe.image.model_copy(update={"size": bundle.size, "fit": bundle.fit})
    array = load_array(arrays, image)
    assert array is not None, f"no array in {arrays}"
    frame = table.frame[table.frame["image_name"].isin(array.row_of)].reset_index(drop=True)
    frame = frame.sample(min(most, len(frame)), random_state=0).reset_index(drop=True)
    rows = np.array([array.row_of[n] for n in frame["image_name"]])
    target = frame["label"].isin(recipe.melanoma).to_numpy().astype(np.int64)
    groups = join_groups([frame["patient_id"].tolist(), frame["lesion_id"].tolist()])
    shifts = [member.prior_shift for member in bundle.members]
    mean_shift = [np.mean([np.asarray(one) for one in shifts], axis=0)]
    each = score(networks["members"], bundle, array, rows, shifts)
    ensemble = auroc(target, each.mean(axis=1))
    ones = np.ones((1, len(target)))
    found = {
        "set": name,
        "images": len(rows),
        "melanomas": int(target.sum()),
        "ensemble": float(ensemble(ones)[0]),
        "members": [float(auroc(target, one)(ones)[0]) for one in each.T],
    }
    for key in ("average", "average_new_statistics"):
        if key not in networks:
            continue
        own = auroc(target, score(networks[key], bundle, array, rows, mean_shift)[:, 0])
        value, _, less, p = compare_statistics([own], [ensemble], np.asarray(groups))
        found[key] = {
            "auroc": value.measured().model_dump(),
            "less_ensemble": less.measured().model_dump(),
            "p_value": p,
        }
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--arrays", type=Path, help="the training array, for new statistics")
    parser.add_argument("--images", type=int, default=2560, help="that renew the statistics")
    parser.add_argument("--external", action="append", required=True, help="NAME=CONFIG,DIR,ARRAYS")
    parser.add_argument("--most", type=int, default=100_000, help="images of a set")
    parser.add_argument("--out", type=Path, help="the JSON to write")
    given = parser.parse_args()
    bundle = load_bundle(given.weights)
    image = load_recipe(given.weights / "recipe.yaml").image
    array = load_array(given.arrays, image) if given.arrays else None
    networks = {
        "members": load_members(bundle, torch.device("cpu")),
        "average": average_network(bundle, None, images=0),
    }
    if array is not None:
        networks["average_new_statistics"] = average_network(bundle, array, images=given.images)
    sets = [measure_set(bundle, networks, one, given.most) for one in given.external]
    model = {"model": bundle.name, "digest": bundle.digest}
    facts = run_facts("weight_average")
    for one in given.external:  # where the sets lie on this machine tells nobody anything
        facts["command"] = facts["command"].replace(one, one.partition("=")[0] + "=...")
    found = {**facts, **model, "sets": sets}
    text = json.dumps(found, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
