"""The layers that all members have in common, taken out of their OpenVINO models.

Members whose backbone stayed as it was, in its first stages or whole, are one network up to there:
what it gives is computed once for all of them. That they are is read off the graphs themselves,
operation by operation and weight by weight, so no record can claim it wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from melanoma.scoring.backends.core import import_openvino

# What is worth it; all members of a bundle have the same scaling of a pixel in common.
_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}
_RESULT, _CONSTANT = "Result", "Constant"

Cut = tuple[str, int]  # an operation's signature, and which of its outputs


@dataclass(frozen=True)
class Networks:
    """OpenVINO's models of squares (B, S, S, 3) uint8, by fold; or, with `common`, of what that
    gives for the squares."""

    by_fold: Mapping[int, Any]
    common: Any | None = None


def take_out_common(models: Mapping[int, Any]) -> Networks:
    """The models with what all of them begin with in one of its own, where they have layers in
    common. The models given stay as they are."""
    copies = {fold: _Signed(model.clone()) for fold, model in models.items()}
    first, *others = copies.values()
    common = set(first.signatures()).intersection(*(one.signatures() for one in others))
    if not others or not any(first.is_layer(signature) for signature in common):
        return Networks(dict(models))
    cuts = list(dict.fromkeys(cut for one in copies.values() for cut in one.ends(common)))
    beginning = _Signed(next(iter(models.values())).clone()).beginning(cuts)
    return Networks({fold: one.behind(cuts, common) for fold, one in copies.items()}, beginning)


class _Signed:
    """A model whose operations have signatures: equal ones give equal numbers for equal squares."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._by_name: dict[str, str] = {}
        self._nodes: dict[str, list[Any]] = {}
        for node in model.get_ordered_ops():
            signature = self._sign(node)
            self._by_name[node.get_name()] = signature
            self._nodes.setdefault(signature, []).append(node)

    def signatures(self) -> list[str]:
        """Of all operations but the model's results, in the order of computation."""
        return [one for one, nodes in self._nodes.items() if _kind(nodes[0]) != _RESULT]

    def is_layer(self, signature: str) -> bool:
        """Whether the operation is one that takes time."""
        return _kind(self._nodes[signature][0]) in _LAYERS

    def ends(self, common: set[str]) -> Iterator[Cut]:
        """What the common operations give to others. Constants are not computed: they stay."""
        for signature, nodes in self._nodes.items():
            if signature not in common or _kind(nodes[0]) == _CONSTANT:
                continue
            for port in range(nodes[0].get_output_size()):
                if any(self._others(node, port, common) for node in nodes):
                    yield signature, port

    def beginning(self, cuts: list[Cut]) -> Any:
        """A model of the squares that gives what stands at the cuts."""
        openvino = import_openvino()
        ends = [self._nodes[signature][0].output(port) for signature, port in cuts]
        results = [openvino.opset13.result(end) for end in ends]
        return openvino.Model(results, self.model.get_parameters(), "common")

    def behind(self, cuts: list[Cut], common: set[str]) -> Any:
        """A model of what stands at the cuts that gives the results. This one is used up."""
        openvino = import_openvino()
        parameters = []
        for signature, port in cuts:
            nodes = self._nodes[signature]
            end = nodes[0].output(port)
            parameter = openvino.opset13.parameter(end.get_partial_shape(), end.get_element_type())
            parameters.append(parameter)
            for node in nodes:
                for target in self._others(node, port, common):
                    target.replace_source_output(parameter.output(0))
        return openvino.Model(self.model.get_results(), parameters, "behind_common")

    def _others(self, node: Any, port: int, common: set[str]) -> list[Any]:
        """The inputs of operations that are not common which this output goes to."""
        targets = node.output(port).get_target_inputs()
        return [
            one for one in targets if self._by_name.get(one.get_node().get_name()) not in common
        ]

    def _sign(self, node: Any) -> str:
        kind = _kind(node)
        digest = hashlib.blake2b(kind.encode(), digest_size=16)
        if kind == _CONSTANT:
            digest.update(f"{node.get_output_element_type(0)} {node.get_output_shape(0)}".encode())
            digest.update(node.get_data().tobytes())
        elif kind != _RESULT:
            digest.update(repr(sorted(node.get_attributes().items())).encode())
        for value in node.input_values():
            before = self._by_name[value.get_node().get_name()]
            digest.update(f" {before} {value.get_index()}".encode())
        return digest.hexdigest()


def _kind(node: Any) -> str:
    return str(node.get_type_name())
