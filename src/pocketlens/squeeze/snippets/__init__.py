"""The code that goes with an exported file: how a picture becomes its input, in four languages."""
