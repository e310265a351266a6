"""A model card, and a checkpoint with it on a Hugging Face hub."""
import os
import os.path as osp
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from mona_mm.errors import ConfigError

from .metrics import metric_of
from .records import FILE, read_record

#: How a hub sorts what a library trains.
_TASKS = dict(mmdet='object-detection', mmrotate='object-detection',
              mmseg='image-segmentation', mmpretrain='image-classification')


def model_card(checkpoint: str, name: str, license: Optional[str] = None,
               run: Optional[str] = None) -> str:
    """Describe a published checkpoint by what is known of its run.

    Args:
        checkpoint (str): The published file; its record says which base it
            needs.
        name (str): ``USER/NAME`` on the hub.
        license (str, optional): As the hub names licences (``apache-2.0``).
        run (str, optional): The ``run.json`` of the run.

    Returns:
        str: Markdown, with the hub's fields in front. What is not known is
        left out, not guessed.
    """
    import yaml

    from mona_mm.checkpoint import read_checkpoint
    from mona_mm.checkpoint.record import records
    content = read_checkpoint(checkpoint)
    known = list(records(content['state_dict']).values())
    record: Dict[str, Any] = read_record(run) if run else {}
    classes = (content.get('meta') or {}).get('dataset_meta') or {}
    file = osp.basename(checkpoint)
    fields: Dict[str, Any] = dict(library_name='mona_mm', tags=['mona_mm'])
    if license:
        fields['license'] = license
    if task := _task(record.get('config', '')):
        fields['pipeline_tag'] = task
    tuners = [r.tuner for r in known]
    fields['tags'] += sorted({t['type'].lower() for t in tuners})
    bases = [r.base for r in known if r.base]
    lines = ['---', yaml.safe_dump(fields, sort_keys=False).rstrip(), '---',
             '', f'# {name}', '']
    facts: List[Tuple[str, str]] = []
    for tuner in tuners:
        given = ', '.join(f'{k}={v!r}' for k, v in tuner.items()
                          if k != 'type')
        facts.append(('Method', f'{tuner["type"]}({given})'))
    if record:
        facts.append(('Config', f'`{record["config"]}`'))
        if record.get('changed'):
            facts.append(('Changed in it', ', '.join(
                f'`{c}`' for c in record['changed'])))
        facts.append(('Trained', f'{record["done"]} of {record["total"]} '
                      f'{record["unit"]}s, seed {record.get("seed")}, on '
                      f'{record.get("device", "an unknown device")}'))
        if record.get('trained'):
            facts.append(('Parameters that train', f'{record["trained"]:,} '
                          f'of the backbone ({record["share"]:.2%})'))
    if names := classes.get('classes'):
        facts.append(('Classes', ', '.join(map(str, names[:20]))
                      + (f' and {len(names) - 20} more'
                         if len(names) > 20 else '')))
    for base in bases:
        facts.append(('Frozen base, not in the file',
                      f'{base.source}, sha256 of its tensors '
                      f'`{base.sha256}`'))
    lines += ['| | |', '|---|---|', *(f'| {k} | {v} |' for k, v in facts)]
    if last := record.get('last'):
        lines += ['', '## Results', '', '| metric | last |', '|---|---|']
        for key, value in last.items():
            metric = metric_of(key)
            lines.append(f'| {metric.name} | {value * metric.scale:.2f} |')
        lines += ['', f'Of the validation set, as `{FILE}` has them.']
    lines += ['', '## Use it', '', '```bash', f'python tools/test.py '
              f'{record.get("config") or "CONFIG"} hf://{name}/{file}', '```',
              '', 'The address works wherever OpenMMLab takes a checkpoint '
              '(`load_from`, inferencers, `init_detector`), once `mona_mm` '
              'is imported.' + (' The frozen base is fetched from where the '
                                'record says, and its hash compared.'
                                if bases else ''), '']
    return '\n'.join(lines)


def upload(checkpoint: str, name: str, card: str,
           run: Optional[str] = None, private: bool = False) -> str:
    """Put a checkpoint, its card and its run's record on a hub.

    Args:
        checkpoint (str): The published file.
        name (str): ``USER/NAME``; made if it is not there.
        card (str): What :func:`model_card` gives.
        run (str, optional): The ``run.json``.
        private (bool): Whether a repository that is made is private.

    Returns:
        str: The address of the checkpoint, ``hf://USER/NAME/FILE``.

    Raises:
        ConfigError: If huggingface_hub is missing, the name is none, or the
            hub refuses.
    """
    check_name(name)
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as error:
        raise ConfigError('uploading needs huggingface_hub: pip install '
                          'huggingface_hub') from error
    file = osp.basename(checkpoint)
    parts = [CommitOperationAdd(file, checkpoint),
             CommitOperationAdd('README.md', card.encode())]
    if run:
        parts.append(CommitOperationAdd(FILE, run))
    api = HfApi(endpoint=os.environ.get('HF_ENDPOINT'))
    try:
        api.create_repo(name, exist_ok=True, private=private)
        api.create_commit(name, parts, commit_message=f'Add {file}')
    except Exception as error:  # huggingface_hub raises many kinds
        raise ConfigError(
            f'{api.endpoint} did not take {name} ({error}). Log in with '
            '`hf auth login` or set HF_TOKEN to a token that may write; '
            f'{checkpoint} is written and can be uploaded again') from error
    return f'hf://{name}/{file}'


def check_name(name: str) -> None:
    """Raise ConfigError unless a text is ``USER/NAME``."""
    user, _, repository = name.partition('/')
    if not user or not repository or '/' in repository:
        raise ConfigError(f'--hub {name}: expected USER/NAME')


def run_of(checkpoint: str) -> Optional[str]:
    """The ``run.json`` beside a checkpoint, if there is one."""
    path = Path(checkpoint).parent / FILE
    return str(path) if path.is_file() else None


def _task(config: str) -> Optional[str]:
    """What a hub calls the task of a config, if it can be read."""
    if not osp.isfile(config):
        return None
    from mmengine.config import Config

    from mona_mm.config import library_of
    return _TASKS.get(library_of(Config.fromfile(config)))
