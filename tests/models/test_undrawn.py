"""A network made without drawing numbers takes a file's weights and is the network of that file."""

from __future__ import annotations

import pytest
import torch

from melanoma.models.classifier import make_classifier
from melanoma.models.undrawn import Undrawn
from melanoma.recipe.sections import Head


@pytest.mark.parametrize("backbone", ["tiny_resnet", "mobilenet_v2"])
def test_weights_of_a_file_make_it_the_network_and_no_number_is_drawn(backbone: str) -> None:
    head = Head(hidden=(8,))
    drawn = make_classifier(backbone, outputs=2, head=head, pooling="gem").eval()
    before = torch.get_rng_state()
    with Undrawn():
        made = make_classifier(backbone, outputs=2, head=head, pooling="gem").eval()
    assert torch.equal(torch.get_rng_state(), before)
    made.load_state_dict(drawn.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(made(images), drawn(images))


def test_afterwards_numbers_are_drawn_again() -> None:
    with Undrawn():
        pass
    first, second = (make_classifier("tiny_resnet", outputs=1).head for _ in range(2))
    assert not torch.equal(first.weight, second.weight)
