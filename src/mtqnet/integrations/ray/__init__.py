"""Many machines: the same rows and the same clips, by Ray. Nothing here schedules work itself."""
