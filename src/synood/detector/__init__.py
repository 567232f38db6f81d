"""OODDetector: class names or images in, scores and predictions out."""

from synood.detector.ood_detector import OODDetector, Prediction

__all__ = ["OODDetector", "Prediction"]
