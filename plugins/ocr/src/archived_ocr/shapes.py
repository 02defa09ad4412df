"""What one group of marks is by its shape: a row of letters, strokes of a pen, a picture, a hole.

Letters are told from one another at the image's own resolution; everything else at that of `ink`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archived_ocr import letter_rows, outlines
from archived_ocr.ink import MM, Box, Gray, Marks, Mask, boxes_of, components, percentiles

ONE_LINE = 2.6
"""Height of a line with its accents by that of its letters."""
LEAST_LETTERS = 3
"""Letters in a row from which marks may be print."""
WEAK = 18
"""Contrast below which marks beside print are the other side of the sheet, or the scanner's."""
SMALLEST = 1.2 * MM
"""Height of letters of 5 point. Lower parts are pieces of letters, or a pattern."""
MANY_LETTERS = 12
"""Letters from which several lines may have grown together."""
LEVEL = 0.68
"""How level unread letters stand that stop a document; script and handwriting stand less so."""
_ALONE = 0.9
"""Share of the marks of a row beside other marks that are in the boxes of its letters."""
_BESIDE = 4
"""Letters in a row beside other marks: three are there in any handwriting and in many a seal."""
_DOTS, _MOST_WRITTEN = 4, 8
"""Dots beside letters from which they stand on a dotted line, and the longest number in a blank."""
_NARROW = 0.35
"""Width by height below which a letter is an I, or a stroke."""
_LARGEST = 3_000_000
"""Pixels of a crop looked at in full; larger ones at the resolution of `ink`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Marks that belong together. `box` in pixels of `ink`; `area`: marked pixels."""

    kind: str
    box: Box
    area: int
    contrast: int
    letters: int = 0
    """Parts that could be letters, in a row."""
    height: float = 0.0
    """Median height of those, in pixels."""
    light: bool = False
    """Lighter than its ground."""
    level: float = 1.0
    """Share of the letters' neighbours that stand on one line."""
    outlined: bool = False
    """Its letters are drawn as outlines."""

    @property
    def is_one_line(self) -> bool:
        """Whether it is no higher than one line with its accents."""
        return self.size[1] <= ONE_LINE * self.height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


def not_examined(box: Box) -> Group:
    """A place of a page that a limit kept from being looked at: nobody may take it for empty."""
    return Group("unexamined", box, 0, 255)


def stops(group: Group) -> bool:
    """Whether a group of unread marks is enough text to stop a document.

    Letters of one line, level and alike. A pen's strokes are neither, whatever their number.
    """
    if group.kind == "unexamined":
        return True
    if group.kind != "text" or group.contrast < WEAK or group.height < SMALLEST:
        return False
    if group.letters < MANY_LETTERS and not group.is_one_line and not group.outlined:
        return False
    enough = group.letters >= 5
    large = group.height >= 2.4 * MM or group.outlined
    level = group.level >= (0.4 if group.outlined else LEVEL)
    return level and (enough or (group.letters >= LEAST_LETTERS and large))


@dataclass(frozen=True, slots=True)
class Row:
    """Parts of a mask that could be letters. `box`, `height` in pixels of that mask."""

    letters: int
    height: float
    level: float
    """Share of neighbours that stand on one line."""
    box: Box
    area: int
    dots: bool = False
    written: bool = False
    """Uneven letters on a dotted line: a blank that was filled in by hand."""

    @property
    def is_print(self) -> bool:
        """Like a printed line: three letters or more of one height on one line."""
        return self.letters >= LEAST_LETTERS and self.level >= 0.4 and self._is_even

    @property
    def is_clearly_print(self) -> bool:
        """So much like print that texture seldom is."""
        return self.letters >= 4 and self.level >= 0.66 and self._is_even

    @property
    def _is_even(self) -> bool:
        return not (self.dots or self.written)


class Shapes:
    """Tells the shapes of groups of marks on one page."""

    def __init__(self, marks: Marks, image: Image.Image) -> None:
        self.marks = marks
        self.image = image
        self.times = max(1, round(1 / marks.scale))

    def told(self, box: Box, inside: Mask, area: int) -> list[Group]:
        """The group in `box` whose marks are `inside`; letters within a picture are their own."""
        left, top, right, bottom = box
        contrast = self.marks.contrast[top:bottom, left:right]
        strong = int(percentiles(contrast[inside], 85)[0])
        light = bool(self.marks.light[top:bottom, left:right][inside].mean() > 0.5)
        width, height = right - left, bottom - top
        core = inside & (contrast >= strong * 0.5)
        kind = self._plain(box, core)
        if kind or max(width, height) < 2.5 * MM or min(width, height) < 0.9 * MM:
            return [Group(kind or "mark", box, area, strong, light=light)]
        depth, mine = self._depths(box, inside)
        own = depth[light]
        if min(width, height) > 12 * MM and float(core.mean()) > 0.35:
            return [*self._within(box, depth), Group("picture", box, area, strong, light=light)]
        strokes = mine & (own >= strong * 0.5)
        row = letters_in(strokes, self.unit)
        if row.dots:
            return [Group("rule", box, area, strong)]
        # With the straight strokes that were taken for rules.
        drawn = self._outlined(box, own >= strong * 0.5, row.letters)
        if drawn or row.is_print:
            row = drawn or row
            tall = row.height / self.unit
            text = Group(
                "text", box, area, strong, row.letters, tall, light, row.level, bool(drawn)
            )
            # Of several lines that have grown together, weaker ones may hide among strong ones.
            mixed = not text.is_one_line and row.level < LEVEL
            return [text, *(self._beside(box, own, mine, strong, light) if mixed else ())]
        rest = "strokes" if max(width, height) > 5 * MM else "mark"
        if row.letters < 5 and self._is_along_edge(box):
            rest = "edge"
        whole = Group(rest, box, area, strong, row.letters, row.height / self.unit, light)
        if max(width, height) < 6 * MM or min(width, height) < 1.8 * MM:
            return [whole]
        beside = self._beside(box, own, mine, strong, light)
        return [*self._within(box, depth), *beside, whole]

    def _outlined(self, box: Box, strokes: Mask, printed: int) -> Row | None:
        """The row of letters that `strokes` are the outlines of, if they are.

        `printed`: how many letters they are otherwise. Not every printed letter closes in ground.
        """
        low = min(box[2] - box[0], box[3] - box[1])
        if not 1.5 * MM <= low <= 18 * MM or float(strokes.mean()) > 0.45:
            return None
        bodies = outlines.bodies(strokes)
        row = letters_in(bodies, self.unit) if bodies is not None else None
        enough = max(3, 0.75 * printed)
        if row is not None and row.letters >= enough and row.level >= 0.4:
            return row
        return None

    def _is_along_edge(self, box: Box) -> bool:
        """Whether a group runs along a whole edge: a wide shadow with dust or a hole in it."""
        page_h, page_w = self.marks.gray.shape
        near = min(box[0], box[1], page_w - box[2], page_h - box[3])
        width, height = box[2] - box[0], box[3] - box[1]
        long = height > 0.85 * page_h or width > 0.85 * page_w
        return near < 2.5 * MM and long and min(width, height) < 14 * MM

    @property
    def unit(self) -> float:
        """Pixels of the last crop for one of `ink`."""
        return float(self._unit)

    def _depths(self, box: Box, inside: Mask) -> tuple[dict[bool, Gray], Mask]:
        """By how much the crop is darker (`False`) and lighter (`True`) than its ground."""
        left, top, right, bottom = box
        times = self.times if inside.size * self.times**2 <= _LARGEST else 1
        self._unit = times
        closed = self.marks.closed[top:bottom, left:right]
        opened = self.marks.opened[top:bottom, left:right]
        if times == 1:
            gray = self.marks.gray[top:bottom, left:right]
            mine = inside
        else:
            crop = (left * times, top * times, right * times, bottom * times)
            gray = np.asarray(self.image.crop(crop), dtype=np.uint8)
            closed, opened = _larger(closed, times), _larger(opened, times)
            mine = _larger(inside.astype(np.uint8), times) > 0
        dark = np.maximum(closed, gray) - gray
        return {False: dark, True: gray - np.minimum(opened, gray)}, mine.astype(np.bool_)

    def _beside(self, box: Box, own: Gray, mine: Mask, strong: int, light: bool) -> list[Group]:
        """Rows of letters that other marks touch, or stand next to: a seal, a pen's strokes."""
        found = []
        least = max(1.5 * self.marks.threshold, 0.2 * strong)
        for outlined, mask in self._masks(mine & (own >= 0.5 * strong), mine & (own >= least)):
            for parts in letter_rows.rows(mask, self.unit, LEAST_LETTERS if outlined else _BESIDE):
                edges = *parts[:, :2].min(axis=0), *parts[:, 2:].max(axis=0)
                x1, y1, x2, y2 = (int(v / self.unit) for v in edges)
                if not (_are_letters(parts) and _is_alone(mask, parts)):
                    continue
                if is_filled_in(parts, _near(mask, parts)):
                    continue
                place = box[0] + x1, box[1] + y1, box[0] + x2 + 1, box[1] + y2 + 1
                inside = own[edges[1] : edges[3], edges[0] : edges[2]]
                high = float(np.median(parts[:, 3] - parts[:, 1])) / self.unit
                found.append(
                    Group(
                        "text",
                        place,
                        (x2 - x1) * (y2 - y1) // 3,
                        int(percentiles(inside, 85)[0]),
                        len(parts),
                        high,
                        light,
                        1.0,
                        outlined,
                    )
                )
        return found

    @staticmethod
    def _masks(*strokes: Mask) -> Iterator[tuple[bool, Mask]]:
        for mask in strokes:
            yield False, mask
        yield True, outlines.bodies_among(strokes[0])

    def _within(self, box: Box, depth: dict[bool, Gray]) -> list[Group]:
        """Rows of letters that stand out of a picture, or are spared out of a dark area."""
        left, top = box[0], box[1]
        for light in (False, True):
            [most] = percentiles(depth[light], 98)
            if most < 40:
                continue
            row = letters_in(depth[light] >= 0.66 * most, self.unit)
            if row.is_clearly_print:
                unit = self.unit
                own = (
                    left + int(row.box[0] / unit),
                    top + int(row.box[1] / unit),
                    left + int(row.box[2] / unit) + 1,
                    top + int(row.box[3] / unit) + 1,
                )
                area = max(1, int(row.area / unit**2))
                height = row.height / unit
                return [Group("text", own, area, int(most), row.letters, height, light, row.level)]
        return []

    def _plain(self, box: Box, core: Mask) -> str:
        """Kinds that need no look at letters; empty for the others."""
        width, height = box[2] - box[0], box[3] - box[1]
        page_h, page_w = self.marks.gray.shape
        fill = float(core.mean()) if core.size else 0.0
        near = min(box[0], box[1], page_w - box[2], page_h - box[3])
        flat = min(width, height) < 3 * MM
        if near < 3 * MM and flat and max(width, height) > 40 * MM:
            return "edge"
        if near < 2.5 * MM and (min(width, height) < 6 * MM or fill > 0.6):
            return "edge"
        if near < 22 * MM and max(width, height) < 14 * MM and _has_hole(core):
            return "hole"
        if min(width, height) < 0.8 * MM:
            return "rule" if max(width, height) > 4 * MM else "dust"
        return "dust" if max(width, height) < 2 * MM else ""


def _are_letters(parts: NDArray[np.int32]) -> bool:
    """Whether most parts of a row are as wide as letters: pieces of lines and rings are narrow."""
    wide = (parts[:, 2] - parts[:, 0]) >= _NARROW * (parts[:, 3] - parts[:, 1])
    count = int(wide.sum())
    return count >= 2 and 2 * count >= len(parts)


def _near(mask: Mask, parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """The boxes of all that stands where a row does, and beside it for a letter's height."""
    x1, y1 = parts[:, :2].min(axis=0).tolist()
    x2, y2 = parts[:, 2:].max(axis=0).tolist()
    left, top, more = max(0, x1 - (y2 - y1)), y1, y2 - y1
    boxes = boxes_of(mask[top : y2 + more // 4, left : x2 + more])[0]
    near: NDArray[np.int32] = boxes + np.array([left, top, left, top], np.int32)
    return near


def _is_alone(mask: Mask, parts: NDArray[np.int32]) -> bool:
    """Whether most marks where a row stands are its own, as seldom within a seal's emblem."""
    left, top = parts[:, :2].min(axis=0).tolist()
    right, bottom = parts[:, 2:].max(axis=0).tolist()
    inside = sum(int(mask[y1:y2, x1:x2].sum()) for x1, y1, x2, y2 in parts.tolist())
    return inside > _ALONE * int(mask[top:bottom, left:right].sum())


def _larger(values: Gray, times: int) -> Gray:
    larger: Gray = np.repeat(np.repeat(values, times, axis=0), times, axis=1)
    return larger


def _has_hole(core: Mask) -> bool:
    """A disc, or the rim of one, of a puncher's size, with little beside it."""
    boxes, areas, labels = components(core)
    if not len(areas):
        return False
    largest = int(np.argmax(areas))
    left, top, right, bottom = (int(v) for v in boxes[largest])
    width, height = right - left, bottom - top
    if areas[largest] < 0.75 * areas.sum():
        return False
    if not (0.7 < width / max(1, height) < 1.4 and 3 * MM < width < 10 * MM):
        return False
    ys, xs = np.nonzero(labels[top:bottom, left:right] == largest)
    radius = np.hypot(xs + 0.5 - width / 2, ys + 0.5 - height / 2) / (min(width, height) / 2)
    disc = float((radius < 1.18).mean())
    covers = float(areas[largest]) / (0.785 * width * height)
    ring = float(((radius > 0.55) & (radius < 1.25)).mean())
    return (disc > 0.93 and covers > 0.72) or (ring > 0.9 and covers > 0.2)


def letters_in(mask: Mask, unit: float) -> Row:
    """The parts of `mask` that could be letters; `unit`: its pixels for one of `ink`."""
    boxes, areas = boxes_of(mask)
    mm = MM * unit
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    fits = (h >= 0.9 * mm) & (h <= 14 * mm) & (w <= 3.5 * h) & (w >= 0.1 * h)
    fits &= areas >= 0.06 * w * h
    if fits.sum() < 3:
        return Row(int(fits.sum()), 0.0, 0.0, (0, 0, 0, 0), 0)
    middle = float(np.median(h[fits]))
    if middle < 1.4 * mm and _are_dots(w[fits], h[fits], areas[fits]):
        return Row(int(fits.sum()), middle, 0.0, (0, 0, 0, 0), 0, dots=True)
    if _are_boxes(mask, boxes[fits]):
        return Row(int(fits.sum()), middle, 0.0, (0, 0, 0, 0), 0, dots=True)
    main = fits & (h > 0.55 * middle) & (h < 1.9 * middle)
    count = int(main.sum())
    if count < 3:
        return Row(count, middle, 0.0, (0, 0, 0, 0), 0)
    large = float(areas[(h > 2.2 * middle) | (w > 5 * middle)].sum()) / max(1, areas.sum())
    chosen = boxes[main]
    chosen = chosen[np.argsort(chosen[:, 0])]
    near = max(1.5 * unit, 0.16 * middle)
    level = max(
        float((np.abs(np.diff(chosen[:, 3])) <= near).mean()),
        float((np.abs(np.diff(chosen[:, 1])) <= near).mean()) - 0.1,
    )
    if large > 0.4:
        level = 0.0
    box = (
        int(chosen[:, 0].min()),
        int(chosen[:, 1].min()),
        int(chosen[:, 2].max()),
        int(chosen[:, 3].max()),
    )
    written = is_filled_in(chosen, boxes[~main])
    return Row(count, middle, level, box, int(areas[main].sum()), written=written)


def is_filled_in(letters: NDArray[np.int32], others: NDArray[np.int32]) -> bool:
    """Whether a few `letters` stand on a dotted line and are not of one height, as no figures are
    that were printed or typed: a number that was written into a blank. `others`: further parts.
    """
    if not LEAST_LETTERS <= len(letters) <= _MOST_WRITTEN:
        return False
    height = float(np.median(letters[:, 3] - letters[:, 1]))
    foot = float(np.median(letters[:, 3]))
    w, h = others[:, 2] - others[:, 0], others[:, 3] - others[:, 1]
    dots = (h <= 0.3 * height) & (w <= 1.5 * h) & (h <= 1.5 * np.maximum(1, w))
    dots &= np.abs(others[:, 3] - foot) <= 0.25 * height
    if int(dots.sum()) < _DOTS:
        return False
    tops = np.sort(letters[:, 1])
    even = np.searchsorted(tops, tops + max(1.5, 0.07 * height), "right") - np.arange(len(tops))
    return int(even.max()) <= 0.5 * len(tops)


def _are_dots(w: NDArray[np.int32], h: NDArray[np.int32], areas: NDArray[np.int32]) -> bool:
    """A dotted line, as forms have them."""
    square = (w <= 1.5 * h) & (h <= 1.5 * w) & (areas >= 0.6 * w * h)
    return float(square.mean()) > 0.7


def _are_boxes(mask: Mask, boxes: NDArray[np.int32]) -> bool:
    """Squares or rings in a row, all alike and empty, as forms have them to be filled in.

    The letters of a short word may be as wide as high too, but none is empty in its middle.
    """
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    middle = float(np.median(h))
    unlike = float(np.ptp(w)), float(np.ptp(h)), abs(float(np.median(w)) - middle)
    if max(unlike) > 0.15 * middle:
        return False
    inside = [
        mask[y1 + (y2 - y1) // 4 : y2 - (y2 - y1) // 4, x1 + (x2 - x1) // 4 : x2 - (x2 - x1) // 4]
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    return sum(1 for part in inside if not part.any()) > 0.7 * len(inside)
