"""pocketlens: from a trained image-recognition model to the smallest, fastest file that keeps its accuracy."""
