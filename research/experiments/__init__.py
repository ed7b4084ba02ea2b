"""The paper's experiments: tables of arms, each arm a few lines of configuration, run with several seeds.

study.py       a table: its question, its arms, the configuration that they share
material.py    clips, features and labels of every split, and the rated sets
arms.py        one arm, one seed -> its scores of every test clip
pooled.py      the plain rivals: mean pooling over the encoder, ridge on log-mel statistics
schedule.py    all runs of a table on all cores, those on disk left out
figures.py     LCC, SRCC, MSE of a run; intervals and paired tests
pages.py, plots.py   CSV, Markdown, pictures
"""
