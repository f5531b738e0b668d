"""Peak memory and CPU seconds of the contrastive loss, forward and backward, on one core.

    python benchmarks/contrastive_memory.py [--embeddings 50000] [--width 256] [--neighbours 5] [--chunk 256]

Also run at half the number of embeddings, each in a process of its own: four times the time for twice the
embeddings, and memory that grows with the embeddings and not with their square.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from adlib.learning.equations.contrastive import CHUNK, nn_contrastive_loss


def peak_mib() -> float:
    """The largest resident size of this process so far, in MiB (kilobytes on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(embeddings: int, width: int, neighbours: int, chunk: int) -> None:
    """One forward and backward pass; prints a line."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((embeddings, width), generator=generator, requires_grad=True)
    x_aug = x.detach() + 0.1 * torch.randn(x.shape, generator=generator)
    # A first call on a few rows: what the libraries themselves take is no part of the answer.
    nn_contrastive_loss(x[:64], x_aug[:64], min(neighbours, 63), 0.07, 16).mean().backward()
    before, start = peak_mib(), time.process_time()
    loss = nn_contrastive_loss(x, x_aug, neighbours, 0.07, chunk).mean()
    forward = time.process_time() - start
    loss.backward()
    seconds = time.process_time() - start
    print(
        f"{embeddings} x {width}, k = {neighbours}, chunk {chunk}: forward {forward:.1f} s, "
        f"both {seconds:.1f} s, {peak_mib() - before:.0f} MiB above the input; "
        f"loss {float(loss.detach()):.6f}",
        flush=True,
    )


def main() -> None:
    """Measure both sizes in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--embeddings", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--neighbours", type=int, default=5)
    parser.add_argument("--chunk", type=int, default=CHUNK)
    parser.add_argument("--once", action="store_true", help="measure in this very process")
    asked = parser.parse_args()
    if asked.once:
        measure(asked.embeddings, asked.width, asked.neighbours, asked.chunk)
        return
    for embeddings in (asked.embeddings // 2, asked.embeddings):
        command = [sys.executable, __file__, "--once", "--embeddings", str(embeddings)]
        command += ["--width", str(asked.width), "--neighbours", str(asked.neighbours)]
        subprocess.run([*command, "--chunk", str(asked.chunk)], check=True)


if __name__ == "__main__":
    main()
