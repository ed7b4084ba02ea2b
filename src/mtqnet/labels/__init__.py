"""Ground truth from references: PESQ, STOI and SDI, and the three-signal labeller for S-, N- and G-MOS."""
