"""Figure 4: in-distribution images with their synthetic images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from synood.benchmark.experiments.interface import Experiment, Outcome
from synood.benchmark.report.thumbnails import thumbnail
from synood.images.decoding import read_image

if TYPE_CHECKING:
    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.retune import ImagePair

PAIRS = 24
SIDE, GAP, TEXT = 128, 8, 52  # pixels: of an image, between them, of the lines below a pair
ACROSS = 4  # pairs in a row
LINE = 38  # characters


def run(setup: Setup) -> Outcome:
    """Draw pairs, evenly spaced over the classes, on one sheet with labels and energies."""
    chosen = [setup.pairs[i * len(setup.pairs) // PAIRS] for i in range(PAIRS)]
    chosen = list({item.source.id: item for item in chosen}.values())
    sheet = draw(chosen)
    data = io.BytesIO()
    sheet.save(data, "WEBP", quality=80)
    images = {"pairs.webp": data.getvalue()}
    rows = []
    for number, item in enumerate(chosen):
        names = {side: f"pairs/{number:02d}-{side}.webp" for side in ("source", "synthetic")}
        images[names["source"]] = thumbnail(item.source.path)
        images[names["synthetic"]] = thumbnail(item.synthetic.path)
        rows.append({**_row(item), **names})
    details = {"pairs": rows}
    table = "\n".join(
        f"{row['class']}: {row['prompt']} -> {row['negative_label']}, "
        f"energy {row['energy_before']:.2f} -> {row['energy_after']:.2f}"
        for row in details["pairs"]
    )
    return Outcome((), (), details=details, table=table, images=images)


def draw(pairs: list[ImagePair]) -> Image.Image:
    """Return one sheet: each pair side by side, class, negative label and energies below."""
    wide, high = 2 * SIDE + 2 * GAP, SIDE + TEXT + GAP
    rows = -(-len(pairs) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * wide + GAP, rows * high + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, item in enumerate(pairs):
        left, top = GAP + number % ACROSS * wide, GAP + number // ACROSS * high
        for column, path in enumerate((item.source.path, item.synthetic.path)):
            image = read_image(path).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(image, (left + column * SIDE, top))
        row = _row(item)
        lines = [
            f"{row['class']} -> {row['negative_label']}",
            str(row["prompt"]),
            f"energy {row['energy_before']:.2f} -> {row['energy_after']:.2f}",
        ]
        for line, text in enumerate(lines):
            shown = text if len(text) <= LINE else text[: LINE - 1] + "…"
            pen.text((left, top + SIDE + 3 + 15 * line), shown, fill="black", font=font)
    return sheet


def _row(item: ImagePair) -> dict[str, object]:
    made = item.synthetic
    return {
        "id": item.source.id,
        "class": item.source.label,
        "prompt": made.prompt,
        "negative_label": item.negative_prompt,
        "energy_before": made.source_energy,
        "energy_after": made.energies[-1],
        "energies": list(made.energies),
        "stop": made.stop,
    }


FIGURE_4 = Experiment(
    "figure-4",
    "Figure 4: pairs",
    "What do the synthetic images look like beside the images they were made from?",
    run,
)
