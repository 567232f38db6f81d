"""Processors of image-text-to-text models for images alone, where those for videos cannot be made.

The video part of several processors needs torchvision, and SmolVLM's num2words; without them the
processor cannot be built at all. No video is used here.
"""

from __future__ import annotations

import sys
from inspect import signature
from types import SimpleNamespace
from typing import Any, NoReturn

from synood.errors import InputError


def load_processor(source: str, **options: Any) -> Any:  # noqa: ANN401 - a transformers processor
    """Load a processor; one whose video part cannot be made here is loaded without it.

    Code that comes with a checkpoint is not run.
    """
    from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    options["trust_remote_code"] = False
    try:
        return AutoProcessor.from_pretrained(source, **options)
    except ImportError:
        config = AutoConfig.from_pretrained(source, **options)
        kind = _for_images(PROCESSOR_MAPPING[type(config)])
        settings, _ = kind.get_processor_dict(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        parts = {
            "image_processor": AutoImageProcessor.from_pretrained(source, **options),
            "tokenizer": tokenizer,
            "video_processor": None,
            "chat_template": settings.get("chat_template") or tokenizer.chat_template,
        }
        own = {name: settings[name] for name in signature(kind).parameters if name in settings}
        processor = kind(**{**own, **parts})
        # SmolVLM's chat template asks it how many frames to take, of images too
        processor.video_processor = SimpleNamespace(num_frames=None, fps=None)
        return processor


def _for_images(processor: Any) -> Any:  # noqa: ANN401 - a class of transformers
    """Return a subclass of a processor that can be made without its video part."""

    def check(self: Any, name: str, part: Any) -> Any:  # noqa: ANN401
        return (
            type(None)
            if part is None
            else processor.check_argument_for_proper_class(self, name, part)
        )

    module = sys.modules[processor.__module__]
    if getattr(module, "num2words", _no_videos) is None:
        module.num2words = _no_videos  # type: ignore[attr-defined]  # only its absence is refused
    return type(processor.__name__, (processor,), {"check_argument_for_proper_class": check})


def _no_videos(*_: object) -> NoReturn:
    raise InputError("describer: takes images, not videos")
