"""What is wrong with an installation, or with a config on it.

    python -m mona_mm.doctor [CONFIG]
"""
