"""The handlers of test_encryption.py: what they are given goes through everything that a handler can say."""

from __future__ import annotations

from workers import Context, task


@task("vault.keep", retries=1, backoff={"delays_seconds": [0.1]})
async def keep(word: str, ctx: Context) -> dict[str, str]:
    """Say *word* as progress, as a line of the log, in a checkpoint and in an error, and answer it at last."""
    await ctx.progress(1, 2, word)
    ctx.log.info("it is %s", word)
    await ctx.checkpoint({"word": word})
    if ctx.attempt == 1:
        raise RuntimeError(f"not {word} yet")
    return {"word": word}
