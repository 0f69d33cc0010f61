"""What the paper claims, and what holds here.

changes.py   what all tables measure, as changes       ledger.py    the claims, judged by them
table.py     notebook 09                               slips.py     where the paper contradicts itself
readings.py  where it leaves room, and what we do      statements.py what its text says of its numbers
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "changes": ["measured_changes"],
        "ledger": ["judge"],
        "table": ["claims_table", "forest_rows", "ledger_table"],
    },
)
