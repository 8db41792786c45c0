"""A harness of verifiers that talks in process: its own null harness installs a program with uv, from the network."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import verifiers.v1 as vf


class ChatConfig(vf.HarnessConfig):
    pass


class ChatHarness(vf.Harness[ChatConfig]):
    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data):  # type: ignore[no-untyped-def]
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [
            {"role": m.role, "content": m.content} for m in prompt or ()
        ]  # fmt: skip
        messages = ([{"role": "system", "content": system}] if system else []) + messages
        request = urllib.request.Request(
            f"{endpoint}/chat/completions", json.dumps({"model": ctx.model, "messages": messages}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"},
        )  # fmt: skip
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).read())
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


__all__ = ["ChatHarness"]
