"""Trainings in two processes, which take no time to start."""
import os
import socket
import traceback
from typing import Optional

from mmengine.config import Config

from mona_mm.engine import launch
from mona_mm.engine.shard import set_shard
from mona_mm.errors import Interrupted


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def fork_two(cfg, resume=None, shard: Optional[str] = None) -> list:
    """Train in two children of this process; return their statuses."""
    port, children = free_port(), []
    for rank in (0, 1):
        child = os.fork()
        if not child:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank),
                              WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                              MASTER_PORT=str(port))
            _train_and_exit(cfg, resume, shard)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]


def _train_and_exit(cfg, resume, shard):
    status = 1
    try:
        cfg = Config(dict(cfg, launcher='pytorch', experiment_name='pair'))
        if shard:
            set_shard(cfg, shard)
        launch.set_resumable(cfg)
        launch.set_resume(cfg, resume)
        launch.run(cfg, lambda runner: runner.train())
        status = 0
    except Interrupted as stopped:
        status = stopped.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
