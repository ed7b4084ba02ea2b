"""What a recording is: samples, spectra, windows, and the facts that decide whether it can be scored."""
