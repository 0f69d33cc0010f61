"""A slider over the frames of a clip, for notebooks."""

import base64
from functools import lru_cache

import ipywidgets

from .clips import Columns, strip
from .style import WIDTH_PX, Clip


class _Viewer(ipywidgets.VBox):
    """A slider over pictures. Where no widget can live, on a static page, the picture itself stands; its
    text is the same in every run."""

    def _repr_mimebundle_(self, **options) -> dict:
        slider, image = self.children
        still = {
            "text/plain": f"frame {slider.value} of 0..{slider.max}",
            "image/png": base64.b64encode(image.value).decode(),
        }
        return super()._repr_mimebundle_(**options) | still


def viewer(clip: Clip, columns: Columns, **options) -> ipywidgets.Widget:
    """Make a slider over the frames of a clip, from the middle one, each drawn as by `strip` (options too)
    when it is first asked for.

    Returns: a widget to end a cell with; on a page without widgets it is the picture of the middle frame.
    """
    draw = lru_cache(maxsize=128)(lambda t: strip(clip, t, columns, **options)._repr_png_(dpi=110))
    slider = ipywidgets.IntSlider(
        value=len(clip) // 2, min=0, max=len(clip) - 1, description="frame", layout={"width": "60%"}
    )
    image = ipywidgets.Image(
        value=draw(slider.value), format="png", layout={"width": "100%", "max_width": f"{WIDTH_PX}px"}
    )
    slider.observe(lambda change: image.set_trait("value", draw(change["new"])), "value")
    return _Viewer([slider, image])
