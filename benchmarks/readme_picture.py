"""The picture of the README: queries at equal steps through a ranking, each with its first answers.

python benchmarks/readme_picture.py --ranking r.npz --queries test --gallery train --out docs/page.jpg

Nothing is picked by hand: the queries stand at equal steps in the list of all, by id. An image's class
is the folder it lies in.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from fastseek.structures import Ranking

SIDE, GAP, LEFT, TOP = 120, 14, 190, 60
RIGHT, WRONG, INK, PAPER = (10, 120, 90), (190, 65, 20), (30, 33, 38), (247, 247, 245)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranking", required=True, help="ranking.npz")
    parser.add_argument("--queries", required=True, type=pathlib.Path, help="folder of the ids")
    parser.add_argument("--gallery", required=True, type=pathlib.Path, help="folder of the ids")
    parser.add_argument("--out", required=True, help="the picture")
    parser.add_argument("--rows", type=int, default=6, help="queries")
    parser.add_argument("--answers", type=int, default=7, help="of each query")
    args = parser.parse_args()
    ranking = Ranking.load(args.ranking)
    draw_sheet(ranking, args.queries, args.gallery, args.rows, args.answers).save(
        args.out, quality=88
    )


def draw_sheet(
    ranking: Ranking, queries: pathlib.Path, gallery: pathlib.Path, rows: int, answers: int
) -> Image.Image:
    """Draw `rows` queries below one another, each with its first answers beside it."""
    ids = np.array(ranking.query_ids)
    order = np.argsort(ids)
    chosen = order[np.linspace(0, len(order) - 1, rows + 2).astype(int)[1:-1]]
    width = LEFT + SIDE + (answers + 1) * GAP + 20 + answers * SIDE
    sheet = Image.new("RGB", (width, TOP + rows * (SIDE + GAP) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(19)
    pen.text((LEFT, 22), "query", INK, font)
    pen.text((LEFT + SIDE + 20 + GAP, 22), "most alike first", INK, font)
    for line, row in enumerate(chosen):
        y = TOP + line * (SIDE + GAP)
        label = class_of(ids[row])
        pen.multiline_text((20, y + 40), label.replace("-", "\n"), INK, font)
        sheet.paste(thumbnail(queries / ids[row]), (LEFT, y))
        for place, column in enumerate(ranking.indices[row, :answers]):
            answer = ranking.gallery_ids[column]
            x = LEFT + SIDE + 20 + GAP + place * (SIDE + GAP)
            sheet.paste(thumbnail(gallery / answer), (x, y))
            mark(pen, x, y, class_of(answer) == label)
    return sheet


def class_of(name: str) -> str:
    """The folder an image lies in."""
    return pathlib.PurePosixPath(name).parent.name


def thumbnail(path: pathlib.Path) -> Image.Image:
    """The middle of an image as a square."""
    with Image.open(path) as image:
        return ImageOps.fit(image.convert("RGB"), (SIDE, SIDE))


def mark(pen: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """Frame an answer; a tick or a cross in its corner."""
    color = RIGHT if right else WRONG
    pen.rectangle((x - 2, y - 2, x + SIDE + 1, y + SIDE + 1), outline=color, width=4)
    pen.ellipse((x - 9, y - 9, x + 17, y + 17), fill=color)
    lines = [(-4, 4, 2, 10), (2, 10, 12, -1)] if right else [(-2, -2, 10, 10), (-2, 10, 10, -2)]
    for ax, ay, bx, by in lines:
        pen.line((x + ax, y + ay, x + bx, y + by), fill=(255, 255, 255), width=3)


if __name__ == "__main__":
    main()
