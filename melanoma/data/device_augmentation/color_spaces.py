"""OpenCV's 8-bit HSV and L*a*b*, for batches on any device: (N, 3, H, W) of whole numbers."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_FIXED = 12  # OpenCV divides by tables of whole numbers, scaled by 2 ** 12

_UNIT = 1 / 255
_LIGHT = 255 << 3  # of a linear channel's 1
_STEPS = 65535  # of light on the way back
_LAB = _FIXED + 3
_ONE = 1 << _LAB

# sRGB's primaries to XYZ and back, D65 (Rec. 709), each row of the first divided by its white.
_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)
_TO_XYZ_FIXED = tuple(tuple(round(w * (1 << _FIXED)) for w in row) for row in _TO_XYZ)
_FROM_XYZ = (
    (3.240479 * 0.950456, -1.53715, -0.498535 * 1.088754),
    (-0.969256 * 0.950456, 1.875991, 0.041556 * 1.088754),
    (0.055648 * 0.950456, -0.204043, 1.057311 * 1.088754),
)
_LINEAR_BELOW, _SLOPE, _OFFSET = 0.008856, 7.787, 16 / 116


def rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in [0, 180), saturation and value in [0, 255], (N, H, W) int32, as cv2.cvtColor's."""
    red, green, blue = images.to(torch.int32).unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    by_value, by_spread = _divisors(images.device)
    saturation = _descale(spread * by_value[value], _FIXED)
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = _descale(hue * by_spread[spread], _FIXED)
    return hue + 180 * (hue < 0).to(torch.int32), saturation, value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 of hue in [0, 180), saturation and value: cut off, as OpenCV does."""
    turned = hue.float() * (6 / 180)
    sector = turned.floor()
    rest, share, level = turned - sector, saturation.float() * _UNIT, value.float() * _UNIT
    channels = []
    for offset in (5, 3, 1):  # red, green, blue: how much of the saturation is missing from it
        place = sector + offset
        place = torch.where(place >= 6, place - 6, place)
        weight = torch.where(place == 0, rest, torch.where(place == 3, 1 - rest, place < 3))
        channels.append(level * (1 - share * weight) * 255)
    return torch.stack(channels, dim=1).to(torch.uint8)


def rgb_to_lab(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L*, a* and b* as cv2.cvtColor's 8 bits, (N, H, W) int32: L * 255 / 100, a and b + 128."""
    light, roots = _lab_tables(images.device)
    red, green, blue = light[images.to(torch.int32)].unbind(1)
    x, y, z = (
        roots[_descale(red * row[0] + green * row[1] + blue * row[2], _FIXED)]
        for row in _TO_XYZ_FIXED
    )
    lightness = _descale(y * ((116 * 255 + 50) // 100) - (16 * 255 * _ONE + 50) // 100, _LAB)
    a = _descale((x - y) * 500 + 128 * _ONE, _LAB)
    b = _descale((y - z) * 200 + 128 * _ONE, _LAB)
    return lightness.clamp(0, 255), a.clamp(0, 255), b.clamp(0, 255)


def _descale(numbers: Tensor, bits: int) -> Tensor:
    return (numbers + (1 << (bits - 1))) >> bits


def lab_to_rgb(lightness: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 of 8-bit L*, a* and b*."""
    y = (lightness / 2.55 + 16) / 116
    parts = (y + (a - 128) / 500, y, y - (b - 128) / 200)
    edge = _LINEAR_BELOW * _SLOPE + _OFFSET
    x, y, z = (torch.where(p > edge, p * p * p, (p - _OFFSET) / _SLOPE) for p in parts)
    linear = torch.stack([x * row[0] + y * row[1] + z * row[2] for row in _FROM_XYZ], dim=1)
    return _curve(lightness.device)[(linear.clamp_(0, 1) * _STEPS).round_().to(torch.int32)]


@functools.cache
def _lab_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Light of each 8-bit value, times 2040; and of that light the cube root, times 2 ** 15."""
    with torch.inference_mode(False):
        share = torch.arange(256, dtype=torch.float64) / 255
        curved = ((share + 0.055) / 1.055).pow(2.4)
        light = torch.where(share <= 0.04045, share / 12.92, curved) * _LIGHT
        share = torch.arange(_LIGHT * 3 // 2, dtype=torch.float64) / _LIGHT
        root = torch.where(share > _LINEAR_BELOW, share.pow(1 / 3), share * _SLOPE + _OFFSET)
        first, second = (t.round().to(torch.int32).to(device) for t in (light, root * _ONE))
        return first, second


@functools.cache
def _divisors(device: torch.device) -> tuple[Tensor, Tensor]:
    """(256,) each: 255 / n and 30 / n, times 2 ** 12, and 0 for n = 0."""
    with torch.inference_mode(False):
        numbers = torch.arange(256, dtype=torch.float64).clamp(min=1)
        tables = [(scale * (1 << _FIXED) / numbers).round() for scale in (255, 180 / 6)]
        for table in tables:
            table[0] = 0
        first, second = (table.to(torch.int32).to(device) for table in tables)
        return first, second


@functools.cache
def _curve(device: torch.device) -> Tensor:
    """(65536,) uint8: sRGB's curve of as many levels of light."""
    with torch.inference_mode(False):
        light = torch.arange(_STEPS + 1, dtype=torch.float64) / _STEPS
        curved = torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
        return (curved * 255).round().to(torch.uint8).to(device)
