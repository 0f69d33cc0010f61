"""Training of the micro SAM 2: its scenes, its phases, its trainer and its quality on clips held out."""
