"""What /predict answers, and that it is what the Scorer says."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tiny_bundle import tiny_recipe
from tiny_service import encode, refused

from api.app import create_app
from api.settings import Settings
from melanoma.data.arrays import load_array
from melanoma.data.images import DECODER_VERSION
from melanoma.evaluation.asked_prevalence import GREATEST_PREVALENCE, LEAST_PREVALENCE
from melanoma.evaluation.prevalence import retarget
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.operating import asked_point
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.scorer import Scorer

FIELDS = [
    "success",
    "melanoma_probability",
    "prediction",
    "probability",
    "by_class",
    "by_fold",
    "threshold",
    "thresholds",
    "flagged",
    "verdict",
    "risk",
    "other_cancer",
    "set",
    "frequency",
    "quality",
    "novelty",
    "calibrated",
    "prevalence",
    "warnings",
    "explanation",
    "model",
    "request_id",
    "milliseconds",
    "disclaimer",
]


def probability(reply: Any) -> float:
    assert reply.status_code == 200, reply.text
    return float(reply.json()["melanoma_probability"])


def test_the_answer_has_exactly_the_fields_of_the_design(post, photograph, scorer):
    answer = post(photograph).json()
    assert list(answer) == FIELDS
    assert answer["success"] is True
    assert answer["explanation"] is None
    assert answer["model"] == asdict(scorer.info())
    assert answer["threshold"] == asdict(scorer.bundle.points[0])
    assert answer["threshold"]["at"] == "sensitivity 0.95"
    caught = answer["threshold"]["sensitivity"]
    assert caught["low"] <= caught["value"] <= caught["high"]
    assert answer["flagged"] == (answer["melanoma_probability"] >= answer["threshold"]["value"])
    assert "not a medical device" in answer["disclaimer"]


def test_the_served_probability_is_the_scorers(post, bundle_folder, scorer):
    files = sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[:5]
    served = [probability(post(file.read_bytes())) for file in files]
    ours = [scorer.score(file.read_bytes()).melanoma_probability for file in files]
    assert served == pytest.approx(ours, abs=1e-5)
    assert max(served) - min(served) > 1e-3, "the five photographs cannot be told apart"


def test_the_served_probability_is_that_of_the_training_array(post, bundle_folder, scorer):
    base = bundle_folder.parent
    array = load_array(base / "arrays", tiny_recipe().image)
    for name in array.names[:3]:
        (file,) = (base / "data" / "jpeg").rglob(f"{name}.jpg")
        row = array.rows([array.row_of[name]])
        ours = scorer.score_squares(row)[0].melanoma_probability
        assert probability(post(file.read_bytes())) == pytest.approx(ours, abs=1e-5)


def test_by_fold_holds_every_member_and_its_mean_is_the_answer(post, photograph):
    answer = post(photograph).json()
    assert len(answer["by_fold"]) == 2
    assert np.mean(answer["by_fold"]) == pytest.approx(answer["melanoma_probability"])
    assert answer["by_class"]["melanoma"] == answer["melanoma_probability"]


def test_swapping_red_and_blue_changes_the_answer(post, pixels):
    right = probability(post(encode(Image.fromarray(pixels))))
    swapped = probability(post(encode(Image.fromarray(pixels[:, :, ::-1].copy()))))
    assert abs(right - swapped) > 1e-4


def test_json_with_base64_scores_as_the_form_does(client, post, photograph):
    body = {"image": base64.b64encode(photograph).decode()}
    assert probability(client.post("/predict", json=body)) == probability(post(photograph))


def _alpha(pixels: Any) -> Image.Image:
    alpha = np.linspace(0, 255, pixels.shape[1]).astype(np.uint8)
    rgba = np.dstack([pixels, np.broadcast_to(alpha, pixels.shape[:2])])
    return Image.fromarray(rgba, "RGBA")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = np.asarray(image).astype(np.float64)
    share = rgba[:, :, 3:] / 255
    rgb = np.rint(rgba[:, :, :3] * share + 255 * (1 - share))
    return Image.fromarray(rgb.astype(np.uint8))


MODES = {
    "gray": (lambda im: im.convert("L"), "PNG", lambda im: im.convert("RGB")),
    "palette": (lambda im: im.quantize(64), "PNG", lambda im: im.convert("RGB")),
    "rgba": (lambda im: _alpha(np.asarray(im)), "PNG", _over_white),
    "16 bit": (
        lambda im: Image.fromarray(np.asarray(im.convert("L")).astype(np.uint16) * 257),
        "PNG",
        lambda im: Image.fromarray((np.asarray(im) >> 8).astype(np.uint8)).convert("RGB"),
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_other_modes_score_as_their_rgb_conversion(post, pixels, mode):
    make, kind, to_rgb = MODES[mode]
    image = make(Image.fromarray(pixels))
    # Alpha is rounded once more by Pillow; everything else is exact.
    tolerance = 1e-3 if mode == "rgba" else 1e-6
    assert probability(post(encode(image, kind))) == pytest.approx(
        probability(post(encode(to_rgb(image)))), abs=tolerance
    )


def test_alpha_is_laid_over_white_and_not_over_black(post, pixels):
    image = _alpha(pixels)
    rgba = np.asarray(image).astype(np.float64)
    black = Image.fromarray(np.rint(rgba[:, :, :3] * rgba[:, :, 3:] / 255).astype(np.uint8))
    white = probability(post(encode(_over_white(image))))
    assert abs(probability(post(encode(black))) - white) > 2e-3


def test_a_cmyk_jpeg_scores_as_its_rgb_conversion(post, pixels):
    data = encode(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)
    rgb = Image.open(io.BytesIO(data)).convert("RGB")
    assert probability(post(data)) == pytest.approx(probability(post(encode(rgb))), abs=1e-6)


# What was done to the upright scene before it was stored under each orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_all_exif_orientations_of_a_scene_score_alike(post, pixels, orientation):
    upright = Image.fromarray(pixels[:40])
    stored = upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    wanted = probability(post(encode(upright)))
    assert probability(post(encode(stored, exif=exif))) == pytest.approx(wanted, abs=1e-4)
    assert abs(probability(post(encode(stored))) - wanted) > 1e-6, "the tag makes no difference"


def _animation(kind: str, pixels: Any) -> bytes:
    first, second = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    options = {"lossless": True} if kind == "WEBP" else {}
    return encode(first, kind, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "MPO"])
def test_of_an_animation_the_first_frame_is_scored_with_a_warning(post, pixels, kind):
    data = _animation(kind, pixels)
    answer = post(data).json()
    assert answer["warnings"] == ["multi_frame"]
    first = Image.open(io.BytesIO(data)).convert("RGB")
    alone = post(encode(first)).json()
    assert alone["warnings"] == []
    assert answer["melanoma_probability"] == pytest.approx(alone["melanoma_probability"], abs=1e-6)


def test_an_empty_scene_is_scored_with_a_warning(post):
    answer = post(encode(Image.new("RGB", (64, 64), "white")))
    assert answer.json()["warnings"] == ["low_information"]
    assert 0 < probability(answer) < 1


def test_metadata_reaches_neither_the_answer_nor_the_logs(post, pixels, caplog):
    exif = Image.Exif()
    exif[0x010E] = "PATIENT Jane Doe"
    exif.get_ifd(0x8825)[29] = "1999:12:31"
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif, comment=b"Jane Doe")
    caplog.clear()
    caplog.set_level(logging.DEBUG, logger="melanoma")
    reply = post(data)
    seen = reply.text + str(dict(reply.headers)) + caplog.text
    assert reply.status_code == 200
    assert "Jane" not in seen
    assert "1999:12:31" not in seen


HOSTILE = [
    b"../../etc/passwd",
    b"a\x00b.jpg",
    b"<script>alert(1)</script>.jpg",
    b"n" * 3000,
    "мел😀.jpg".encode(),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_the_clients_file_name_is_neither_used_nor_echoed(client, photograph, caplog, name):
    caplog.set_level(logging.DEBUG, logger="melanoma")
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
        b"Content-Type: image/gif\r\n\r\n" + photograph + b"\r\n--B--\r\n"
    )
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = client.post("/predict", content=body, headers=kind)
    assert reply.status_code == 200, reply.text
    seen = (reply.text + str(dict(reply.headers)) + caplog.text).encode()
    assert name not in seen
    assert b"passwd" not in seen


@pytest.mark.parametrize(
    ("name", "more"), [(b"n" * 10_000, b""), (b"n", b"X-Name: n\r\n" * 20)], ids=["name", "lines"]
)
def test_a_form_whose_headers_are_beyond_the_parsers_limits_is_told_so(
    client, photograph, name, more
):
    """No file system has such a name; that the form is broken would be no help."""
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
    body += more + b"\r\n" + photograph + b"\r\n--B--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = client.post("/predict", content=body, headers=kind)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "bad_multipart")
    assert "a file's name may have some 4,000 bytes" in error["message"]
    assert "broken" not in error["message"]


def test_an_upload_near_the_limit_never_touches_the_disk(post, monkeypatch):
    def spooled(self):
        raise AssertionError("an upload went to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", spooled)
    noise = np.random.default_rng(0).integers(0, 256, (1750, 1750, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), compress_level=0)
    assert 9_000_000 < len(data) < 10_000_000
    assert post(data).status_code == 200


def test_several_bundles_are_chosen_by_name(scorer, bundle_folder, photograph):
    bundle = load_bundle(bundle_folder)
    moved = bundle.calibration.intercept + 3
    calibration = dataclasses.replace(bundle.calibration, intercept=moved)
    other = Scorer(dataclasses.replace(bundle, name="other", calibration=calibration))
    with TestClient(create_app([scorer, other], Settings())) as client:
        replies = {
            query: client.post(f"/predict{query}", files={"file": photograph})
            for query in ("", "?model=tiny", "?model=other", "?model=nobody")
        }
        models = [model["name"] for model in client.get("/info").json()["models"]]
    assert models == ["tiny", "other"]
    assert probability(replies[""]) == probability(replies["?model=tiny"])
    odds = {
        query: np.array(reply.json()["by_fold"]) / (1 - np.array(reply.json()["by_fold"]))
        for query, reply in replies.items()
        if reply.status_code == 200
    }
    np.testing.assert_allclose(odds["?model=other"], odds["?model=tiny"] * np.exp(3), rtol=1e-4)
    assert replies["?model=other"].json()["model"]["name"] == "other"
    message = refused(replies["?model=nobody"], 404, "unknown_model")
    assert "tiny" in message
    assert "other" in message
    assert "nobody" not in message


def test_info_says_what_the_bundle_says(client, scorer, bundle_folder: Path):
    report = json.loads((bundle_folder / "report.json").read_text())
    answer = client.get("/info").json()
    (model,) = answer["models"]
    assert model["digest"] == scorer.bundle.digest
    assert model["auroc"] == report["metrics"]["auroc"]
    assert model["calibration"] == {"prevalence": report["calibration"]["prevalence"]}
    assert (model["backbone"], model["image_size"], model["views"]) == ("tiny_resnet", 32, 1)
    assert model["license"] is None
    assert model["decoder"] == scorer.bundle.decoder
    assert answer["decoder"] == DECODER_VERSION
    assert answer["limits"]["bytes"] == 10_000_000
    assert "not a medical device" in answer["disclaimer"]


def _examples(client: TestClient) -> list[tuple[str, Any]]:
    found = []
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {"content": {}})["content"]
            for example in content.get("application/json", {}).get("examples", {}).values():
                found.append((path, example["value"]))
    return found


def test_every_example_of_the_openapi_page_works(client):
    examples = _examples(client)
    assert {path for path, _ in examples} == {
        "/predict",
        "/predict/batch",
        "/predict/patient",
        "/explain",
    }
    assert len(examples) >= 5
    for path, body in examples:
        reply = client.post(path, json=body)
        assert reply.status_code == 200, (path, reply.text)
        assert "false" not in json.dumps([r["success"] for r in reply.json().get("results", [])])
        if body.get("explain") or path == "/explain":
            assert reply.json()["explanation"]["picture"]


def test_the_openapi_page_documents_what_is_sent_and_answered(client):
    schema = client.get("/openapi.json").json()
    content = schema["paths"]["/predict"]["post"]["requestBody"]["content"]
    named = content["application/json"]["schema"]["properties"]["image"]["examples"][0]
    assert client.post("/predict", json={"image": named}).status_code == 200
    form = content["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    texts = set(form["properties"]) - {"file"}
    assert texts == {"explain", "method", "precision", "class", "seed", "prevalence"}
    documented = schema["components"]["schemas"]["PredictAnswer"]["properties"]
    assert list(documented) == FIELDS
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            guarded = path not in ("/healthz", "/readyz")
            assert ("401" in operation["responses"]) == guarded, path
            assert bool(operation.get("security")) == guarded, path


def test_any_threshold_may_be_asked_for(client, photograph, scorer):
    own = client.post("/predict", files={"file": photograph}).json()
    score = own["melanoma_probability"]
    for value, flagged in ((score, True), (min(score + 1e-6, 1.0), False)):
        address = f"/predict?threshold={value!r}"
        answer = client.post(address, files={"file": photograph}).json()
        assert answer["flagged"] is flagged
        calm = "unsure" if len(answer["set"]["classes"]) > 1 else "not_flagged"
        assert answer["verdict"]["code"] == ("flagged" if flagged else calm)
        assert answer["threshold"] == asdict(asked_point(value, scorer.bundle.curve))
        assert answer["thresholds"] == own["thresholds"]
        batch = f"/predict/batch?threshold={value!r}"
        (item,) = client.post(batch, files=[("files", photograph)]).json()["results"]
        assert item["flagged"] is flagged
    for value in ("1.5", "-0.1", "nan", "x"):
        refused = client.post(f"/predict?threshold={value}", files={"file": photograph})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_field")
    other = client.post("/explain?threshold=0.5", files={"file": photograph})
    assert other.json()["error"]["code"] == "unknown_field"


def test_a_prevalence_moves_the_answer_and_no_flag(client, photograph, scorer):
    files = {"file": photograph}
    own = client.post("/predict", files=files).json()
    answers = [
        client.post("/predict?prevalence=0.02", files=files).json(),
        client.post("/predict", files=files, data={"prevalence": "0.02"}).json(),
        client.post(
            "/predict", json={"image": base64.b64encode(photograph).decode(), "prevalence": 0.02}
        ).json(),
    ]
    images = {"images": [base64.b64encode(photograph).decode()], "prevalence": 0.02}
    batches = [
        client.post("/predict/batch?prevalence=0.02", files=[("files", photograph)]),
        client.post("/predict/batch", files=[("files", photograph)], data={"prevalence": "0.02"}),
        client.post("/predict/batch", json=images),
    ]
    answers += [reply.json()["results"][0] for reply in batches]
    expected = retarget(
        np.array([own["melanoma_probability"], own["threshold"]["value"]]),
        trained=own["prevalence"],
        wanted=0.02,
    )
    for answer in answers:
        assert answer["prevalence"] == answer["frequency"]["prevalence"] == 0.02
        found = [answer["melanoma_probability"], answer["threshold"]["value"]]
        assert found == pytest.approx(expected)
        assert answer["flagged"] == own["flagged"]
        assert answer["verdict"]["code"] == own["verdict"]["code"]


def test_a_moved_bundle_s_answers_and_its_info_are_of_where_it_was_moved_to(
    photograph, scorer, tmp_path
):
    moved = ship_bundle(scorer.bundle, tmp_path / "moved", prevalence=0.02).bundle
    with TestClient(create_app([Scorer(moved)], Settings())) as client:
        (model,) = client.get("/info").json()["models"]
        answer = client.post("/predict", files={"file": photograph}).json()
    assert model["calibration"] == {"prevalence": 0.02}
    assert answer["prevalence"] == 0.02
    asked = scorer.at_prevalence(scorer.score(photograph), 0.02)
    # Its weights have half as many digits.
    assert answer["melanoma_probability"] == pytest.approx(asked.melanoma_probability, rel=0.02)


NO_PREVALENCE = ("0", "1", "-0.1", "nan", "2 %", "", "5e-324", "1e-320", "1e-7", "0.99999999999")


def test_no_prevalence_that_is_answered_makes_a_probability_0_or_1(client, photograph):
    own = client.post("/predict", files={"file": photograph}).json()
    for value in (LEAST_PREVALENCE, GREATEST_PREVALENCE):
        answer = client.post(f"/predict?prevalence={value}", files={"file": photograph}).json()
        points = [point["value"] for point in answer["thresholds"]]
        for number in (answer["melanoma_probability"], *answer["by_fold"], *points):
            assert 0 < number < 1
        score, mark = answer["melanoma_probability"], answer["threshold"]["value"]
        assert (score >= mark) == answer["flagged"] == own["flagged"]


@pytest.mark.parametrize("value", NO_PREVALENCE)
def test_a_prevalence_that_is_no_share_is_one_clear_refusal(client, photograph, value):
    for path, name in (("/predict", "file"), ("/predict/batch", "files")):
        upload = [(name, photograph)]
        replies = [
            client.post(f"{path}?prevalence={value}", files=upload),
            client.post(path, files=upload, data={"prevalence": value}),
        ]
        for reply in replies:
            error = reply.json()["error"]
            assert (reply.status_code, error["code"]) == (422, "invalid_field")
            assert "prevalence" in error["message"]
    text, number = base64.b64encode(photograph).decode(), value if value[-1:].isdigit() else "NaN"
    sent = f'{{"image": "{text}", "prevalence": {number}}}'
    reply = client.post("/predict", content=sent, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_field")
    assert "from 0.000001 to 0.999999" in reply.json()["error"]["message"]
    both = client.post(
        "/predict?prevalence=0.1", files={"file": photograph}, data={"prevalence": "0.2"}
    )
    assert "another than the body" in both.json()["error"]["message"]
