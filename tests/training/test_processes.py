import fcntl
import threading
import time

from napo.training.processes import alone_in, is_main, main_first, meet, ranks


def test_a_single_process_is_the_main_one_and_waits_for_nobody():
    assert (ranks(), is_main()) == (1, True)
    with main_first():
        meet()


def test_a_folder_in_use_is_waited_for(tmp_path):
    folder, order = tmp_path / "stage", []
    folder.mkdir()
    other = (folder / ".lock").open("a")
    fcntl.flock(other, fcntl.LOCK_EX)

    def ends() -> None:
        while "waiting" not in order:
            time.sleep(0.01)
        order.append("the other one ends")
        other.close()  # as the kernel does for a process that is killed

    ending = threading.Thread(target=ends)
    ending.start()
    with alone_in(folder, lambda: order.append("waiting")):
        order.append("ours")
    ending.join()
    assert order == ["waiting", "the other one ends", "ours"]


def test_a_free_folder_is_made_and_taken_and_is_free_again_after_an_error(tmp_path):
    waited = []
    for _ in range(2):
        try:
            with alone_in(tmp_path / "a" / "b", lambda: waited.append(1)):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (tmp_path / "a" / "b").is_dir()
    assert not waited
