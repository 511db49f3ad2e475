"""Real media files whose truth is known: event clips, talking heads and scenes, drawn from a seed."""
