"""proxy-metric: a summary is paid by its overlap with the article, so the best one is a copy (specification failure)"""

from loopkit.registry.hookspecs import Register, hookimpl


@hookimpl
def register_games(register: Register) -> None:
    register("proxy-metric", "loopkit_proxy_metric.game:ProxyMetric")
