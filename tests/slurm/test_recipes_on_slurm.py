"""Every recipe of docs/clusters.md, word for word."""
import json
import re

import pytest
from one_machine import submitted, until

from mona_mm.research.shapes import make_shapes

pytestmark = pytest.mark.slurm
CONFIG = 'configs/quickstart/swin-nano-mona_shapes.py'


@pytest.fixture
def checkout(root, tmp_path):
    """The project with data, as `make quickstart` leaves it."""
    for name in ('configs', 'mona_mm', 'tools'):
        (tmp_path / name).symlink_to(root / name)
    make_shapes(tmp_path / 'data/shapes', train=2, val=1, per_class=8,
                val_per_class=2)
    return tmp_path


def test_recipes_of_the_docs_run_as_they_stand(cluster, root, checkout):
    text = (root / 'docs/clusters.md').read_text()
    blocks = re.findall(r'^```bash\n(.*?)^```', text, re.M | re.S)
    work, job = checkout / 'work_dirs', ''
    for block in blocks:
        if job and 'scancel' in block:
            cluster.wait(job, ['RUNNING'])
            until((work / 'two/epoch_1.pth').exists, 200, 'a checkpoint')
        told = cluster.run(f'set -e\n{block}', cwd=checkout)
        if '--requeue' in block:
            job = submitted(told)
        elif '--signal=TERM' in block:
            until(lambda job=job: cluster.field(job, 'Restarts') == '1', 100,
                  'the job to be back in the queue')
        elif 'sbatch' in block:
            cluster.wait_for_all()
    ran = {path.parent.relative_to(work).as_posix(): json.loads(
        path.read_text()) for path in work.rglob('run.json')}
    name = CONFIG.split('/')[-1][:-3]
    assert set(ran) == {
        'one', 'none', 'nodes', 'two', 'torchrun', 'shared',
        f'sweep/{name}/seed0', f'sweep/{name}/seed1'}
    assert all(record['finished'] for record in ran.values())
    assert {key: record['world_size'] for key, record in ran.items()
            if record['world_size'] > 1} == dict(
                nodes=2, torchrun=2, shared=2)
    assert ran['two']['sessions'] >= 2
