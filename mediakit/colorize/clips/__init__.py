"""Clips for colorization: what data sets hold, how films are cut into clips, and where these are kept."""
