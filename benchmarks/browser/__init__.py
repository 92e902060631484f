"""What benchmarks/app.py needs of a browser: a fake camera, a quiet Chromium, and a bare runtime to compare with."""
