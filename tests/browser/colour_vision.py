"""How far apart two colours are, for whoever sees all of them and for whoever does not tell red from green."""

from __future__ import annotations

import re

import numpy as np

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""Of linear RGB, for severity 1: Machado, Oliveira and Fernandes 2009, table 1."""
ALL = np.eye(3)
"""Of whoever sees all colours."""
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.95047, 1.0, 1.08883])


def rgb(style):
    """A colour as browsers write it, ``rgb(1, 2, 3)`` or ``#a1b2c3``, as shares [3]."""
    if style.startswith("#"):
        return np.array([int(style[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.array([float(part) for part in re.findall(r"[\d.]+", style)[:3]]) / 255


def linear(colour):
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ _XYZ[1])


def contrast(one, other):
    """WCAG 2's contrast of two colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def difference(one, other, seen_by=ALL):
    """Delta E (CIE 1976) of two colours, as whoever sees by this matrix sees them."""

    def lab(colour):
        share = _XYZ @ np.clip(seen_by @ linear(colour), 0, 1) / _WHITE
        root = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
        return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])

    return float(np.linalg.norm(lab(one) - lab(other)))


def simulated(picture):
    """A picture uint8 [height, width, 3] as deuteranopes see it."""
    light = np.clip(linear(picture / 255) @ DEUTERANOPIA.T, 0, 1)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )
