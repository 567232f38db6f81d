"""A random convolutional network over pictures of 32 x 32: any object with `logits` will do."""

from __future__ import annotations

import torch

import tiny


class SmallClassifier:
    """Seven classes; `gradients` notes for each call whether a gradient was asked for."""

    class_names = tuple("abcdefg")
    fingerprint = "0" * 16

    def __init__(self, dtype=torch.float32, sharpness=4.0):
        with tiny.seeded(7):
            self.network = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 5, stride=2),
                torch.nn.SiLU(),
                torch.nn.Conv2d(8, 8, 5, stride=2),
                torch.nn.SiLU(),
                torch.nn.Flatten(),
                torch.nn.Linear(8 * 5 * 5, 7),
            ).to(dtype)
        self.sharpness = sharpness
        self.gradients = []

    def logits(self, pixels):
        self.gradients.append(pixels.requires_grad)
        return self.sharpness * self.network(pixels * 2 - 1)
