"""Do labels mean what the config says? Asked before anything is trained.

Every dataset class has its own way from a label file to a number. For each of
those ways (``mona_mm.data.labels.look.READERS``) the names in the files are
compared with the config's classes, and a few labels and pictures are looked
at. :func:`mona_mm.engine.preflight.preflight` asks, so that the doctor and
training give the same answers.
"""
