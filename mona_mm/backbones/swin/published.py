"""Figures of the paper's code, measured on its definitions."""

#: MiB of saved activations, by (arch, batch x side) and method: backbone
#: alone, float32, train mode, drop-path 0.3.
SAVED_MIB = {
    ('tiny', '2x224'): dict(
        full=207.5, Mona=221.1, LoRA=141.1, Adapter=159.4, AdaptFormer=114.9),
    ('tiny', '1x512'): dict(
        full=574.5, Mona=597.9, LoRA=398.9, Adapter=436.7, AdaptFormer=320.7),
    ('base', '2x224'): dict(
        full=437.2, Mona=443.2, LoRA=293.3, Adapter=325.6, AdaptFormer=249.0),
    ('base', '1x512'): dict(
        full=1216.4, Mona=1206.4, LoRA=833.0, Adapter=899.0,
        AdaptFormer=699.0),
}
