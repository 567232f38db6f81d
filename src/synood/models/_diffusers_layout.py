"""The layout of a diffusers checkpoint: its parts, and whether they fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synood.errors import CheckpointError
from synood.files import fingerprint
from synood.models._levels import check_known
from synood.models.checkpoints import checkpoint_fingerprint, load_part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synood.models._autoencoder import Autoencoder
    from synood.models._prompting import PromptEncoder

_PARTS = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "scheduler": "",  # any
}
_FLOW_PARTS = {  # of Z-Image
    "transformer": "ZImageTransformer2DModel",
    "vae": "AutoencoderKL",
    "text_encoder": "Qwen3Model",
    "tokenizer": "Qwen2Tokenizer",
    "scheduler": "FlowMatchEulerDiscreteScheduler",
}
_SECOND_TOWER = {"text_encoder_2": "CLIPTextModelWithProjection", "tokenizer_2": "CLIPTokenizer"}
_SIZE_NUMBERS = 6  # SDXL's time_ids: original size, corner of the crop, target size
_MOVED = {  # checkpoints removed from the hub, and copies in use
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
}


@dataclass(frozen=True)
class Layout:
    """The location of a checkpoint and its model_index.json."""

    source: str | Path
    revision: str | None
    index: Mapping[str, Any]  # library and class of each part, and settings of the pipeline

    @property
    def has_two_towers(self) -> bool:
        """Whether there are two text towers, as in SDXL."""
        return "text_encoder_2" in self.index

    @property
    def is_flow(self) -> bool:
        """Whether a transformer denoises by flow matching, as in Z-Image."""
        return "transformer" in self.index and "unet" not in self.index

    @property
    def zeros_for_empty(self) -> bool:
        """Whether the empty prompt is embedded as zeros: SDXL's default."""
        return self.has_two_towers and bool(self.index.get("force_zeros_for_empty_prompt", True))

    @property
    def parts(self) -> Mapping[str, str]:
        """The folders of the checkpoint's parts -> the beginning of their class names."""
        if self.is_flow:
            return _FLOW_PARTS
        return {**_PARTS, **(_SECOND_TOWER if self.has_two_towers else {})}

    def fingerprint(self) -> str:
        """Return sixteen hex digits that change with any part of the checkpoint."""
        mark = checkpoint_fingerprint(self.source, tuple(self.parts), self.revision)
        return fingerprint(mark, self.zeros_for_empty) if self.has_two_towers else mark


def read_layout(source: str | Path, revision: str | None) -> Layout:
    """Read model_index.json.

    Raises `CheckpointError` naming the first part that is absent or of an unsupported class.
    """
    import diffusers

    read = diffusers.DiffusionPipeline.load_config
    try:
        layout = Layout(source, revision, load_part(read, source, revision=revision))
    except CheckpointError as error:
        if str(source) not in _MOVED:
            raise
        raise CheckpointError(
            f"{error}; it was removed from the hub; use {_MOVED[str(source)]}"
        ) from error
    for part, expected in layout.parts.items():
        found = str((layout.index.get(part) or ["", None])[1])
        if found == "None" or not found.startswith(expected):  # CLIPTokenizerFast is one too
            raise CheckpointError(
                f"{source}/model_index.json: {part} is {found}, not {expected or 'a scheduler'}; "
                "use a checkpoint of Stable Diffusion 1, 2 or SDXL, for in-painting, or of Z-Image"
            )
    return layout


def load_scheduler(source: str | Path, revision: str | None) -> Any:  # noqa: ANN401
    """Load the scheduler of the class that its own configuration names."""
    import diffusers

    at: dict[str, Any] = {"subfolder": "scheduler", "revision": revision}
    # any scheduler class reads the file; its _class_name names the right one
    name = str(load_part(diffusers.DDIMScheduler.load_config, source, **at).get("_class_name"))
    known = getattr(diffusers, name, None)
    scheduler: Any = None if known is None else load_part(known.from_pretrained, source, **at)
    if not hasattr(scheduler, "add_noise"):
        raise CheckpointError(
            f"{source}/scheduler: `{name}` cannot start from a noised image; "
            "name another in scheduler_config.json, such as DDIMScheduler"
        )
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise CheckpointError(f"{source}/scheduler: unknown prediction_type `{kind}`")
    return scheduler


def load_flow_scheduler(source: str | Path, revision: str | None) -> Any:  # noqa: ANN401
    """Load the scheduler of a flow-matching checkpoint; its class has been checked."""
    import diffusers

    kind = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = load_part(kind.from_pretrained, source, subfolder="scheduler", revision=revision)
    if scheduler.config.get("invert_sigmas"):
        raise CheckpointError(f"{source}/scheduler: invert_sigmas is for models of another kind")
    return scheduler


def check_steerable(source: str | Path, revision: str | None) -> None:
    """Raise an `InputError` if a checkpoint's denoising steps cannot be guided one by one."""
    flow = read_layout(source, revision).is_flow
    check_known((load_flow_scheduler if flow else load_scheduler)(source, revision))


def check_fit(
    source: str | Path,
    unet: Any,  # noqa: ANN401
    autoencoder: Autoencoder,
    prompter: PromptEncoder,
) -> None:
    """Raise `CheckpointError` when the parts of a checkpoint do not belong together."""
    channels = autoencoder.channels
    wanted: dict[str, tuple[object, ...]] = {
        # noisy latent, mask, latent of the masked image; or the noisy latent alone
        "in_channels": (2 * channels + 1, channels),
        "out_channels": (channels,),
        "cross_attention_dim": (prompter.width,),
        "addition_embed_type": (None,),
        # further inputs, which are not given here
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "encoder_hid_dim_type": (None,),
    }
    if prompter.pooled_width:
        numbers = _SIZE_NUMBERS * unet.config.addition_time_embed_dim + prompter.pooled_width
        wanted["addition_embed_type"] = ("text_time",)
        wanted["projection_class_embeddings_input_dim"] = (numbers,)
    _refuse_others(source, "U-Net", unet.config, wanted)
    if not isinstance(unet.config.sample_size, int):
        raise CheckpointError(f"{source}: the U-Net's sample_size must be one number")


def check_flow_fit(
    source: str | Path,
    transformer: Any,  # noqa: ANN401
    autoencoder: Autoencoder,
    text_width: int,
) -> None:
    """Raise `CheckpointError` when the parts of a flow-matching checkpoint do not fit."""
    wanted: dict[str, tuple[object, ...]] = {
        "in_channels": (autoencoder.channels,),
        "cap_feat_dim": (text_width,),
        "siglip_feat_dim": (None,),  # of a model that takes images too
    }
    _refuse_others(source, "transformer", transformer.config, wanted)


def _refuse_others(
    source: str | Path,
    network: str,
    config: Mapping[str, object],
    wanted: Mapping[str, tuple[object, ...]],
) -> None:
    for name, values in wanted.items():
        if config[name] not in values:
            raise CheckpointError(
                f"{source}: the {network}'s {name} is {config[name]}, a model with this "
                f"autoencoder and text tower has {' or '.join(map(str, values))}; use an "
                "in-painting checkpoint whose parts belong together"
            )
