"""Clean speech + noise + rooms -> degraded clips with labels. Speech and noise are separate tracks throughout."""
