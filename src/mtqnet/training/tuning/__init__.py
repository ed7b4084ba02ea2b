"""A model and somebody's ratings -> a model of theirs. `finetune.py` beside this room puts it together."""
