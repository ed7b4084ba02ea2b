"""Clean speech + noise + rooms -> degraded clips with labels. Speech and noise stay two tracks throughout."""
