"""What refinement costs: counted, forecast and measured.

flops.py      operations of SAM 2's parts: a table    parts.py   where it comes from
rate.py       how fast this machine is                forecast.py what a run will take
measure.py    one window, timed by stage              timing.py  several windows, beside the forecast
table.py      notebook 08                             shortcuts.py what approximations save and cost
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["flops"],
    submod_attrs={
        "rate": ["calibrate"],
        "timing": ["time_runs"],
        "table": ["cost_table"],
        "shortcuts": ["shortcuts_table"],
    },
)
