"""Tables and figures become the report folders that people read. Knows nothing of models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "text": ["COLUMNS", "METRICS", "gains", "markdown", "read_table", "wide"],
        "png": ["save_figure", "write_together"],
        "pages": ["profile_readme", "profile_sections"],
        "display": ["show"],
    },
)
