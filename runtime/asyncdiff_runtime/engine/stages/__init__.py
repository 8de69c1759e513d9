"""The denoiser's graph cut into stages that work at the same time, by a timetable that is plain data."""
