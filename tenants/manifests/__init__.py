"""Model -> Kubernetes objects, the admission policies among them. Pure. READ `render` first."""

from tenants.manifests.render import SCHEDULER, render

__all__ = ["SCHEDULER", "render"]
