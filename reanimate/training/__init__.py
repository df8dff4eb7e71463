"""Training a style generator and its encoder on a folder of faces. Imports neither dlib, lpips nor ffmpeg by itself."""
