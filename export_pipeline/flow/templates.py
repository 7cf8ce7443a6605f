"""What people do with templates: make, list, see, change, delete and run them. Each asks who they are first.

A template is checked like a request when it is saved, for its owner, and again when it is run, for whoever runs it: it
never lends its owner's rights. Whoever may not see a template is told that there is none.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from export_pipeline.flow.authorize import identify
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.request import admit, file_request
from export_pipeline.flow.template_values import as_told
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.errors import Forbidden, NotFound, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.model.template import HELD, Template

_NAME = re.compile(r"[^\W_](?:[\w .-]{0,61}[\w.-])?")
#: What can be set back to its default: all but the dataset, which has none.
RESETTABLE = tuple(name for name in HELD if name != "dataset")
#: Fields whose names given anew replace those that are there, and leave the others.
_MERGED = ("filters", "masks", "options")


def create_template(
    engine: Engine, email: str, name: str, request: ExportRequest, *, shared: tuple[str, ...] = ()
) -> Template:
    """Saves a request as a template of the person's. Raises what asking for it would raise, and Rejected for a name
    that is no name or that is taken."""
    owner = admit(engine, replace(request, requested_by=email)).principal
    return engine.templates.add(owner, _checked(name), shared, request)


def list_templates(engine: Engine, email: str) -> list[Template]:
    """The templates that the person may see, by name, with the values that they may see. Raises Forbidden."""
    principal = identify(engine, email)
    return [as_told(engine, principal, template) for template in engine.templates.visible(principal)]


def show_template(engine: Engine, email: str, name: str) -> Template:
    """The template of that name, or of that owner and name (`owner@example.com/name`), with the values that the person
    may see. Raises NotFound, Forbidden, and Rejected where several people share one of that name."""
    principal = identify(engine, email)
    return as_told(engine, principal, _find(engine, principal, name))


def edit_template(
    engine: Engine,
    email: str,
    name: str,
    changes: Mapping[str, Any],
    *,
    reset: Collection[str] = (),
    new_name: str | None = None,
    shared: tuple[str, ...] | None = None,
    version: int | None = None,
) -> Template:
    """Changes a template of one's own: first the fields in `reset` become what they are by default, then `changes` are
    made (see `changed`). With `version` only that version is changed. Raises what saving it anew would raise, Forbidden
    where it is somebody else's, and Rejected where it was changed meanwhile."""
    principal = identify(engine, email)
    template = _find(engine, principal, name)
    if template.owner_id != principal.id:
        raise Forbidden(f"the template {template.name} is {template.owner_email}'s; save one of your own")
    if version is not None and version != template.version:
        raise Rejected(
            f"the template {template.name} has version {template.version}, not {version}: look at it again and repeat "
            "your change"
        )
    request = changed(_defaults(template.request, reset), changes)
    admit(engine, replace(request, requested_by=email, template_id=template.id))
    return engine.templates.change(
        template,
        actor=principal.email,
        name=template.name if new_name is None else _checked(new_name),
        shared=template.shared if shared is None else shared,
        request=request,
    )


def delete_template(engine: Engine, email: str, name: str) -> Template:
    """Deletes a template, for its owner or an administrator. Raises NotFound, Forbidden."""
    principal = identify(engine, email)
    template = _find(engine, principal, name)
    if principal.role is not Role.ADMIN and template.owner_id != principal.id:
        raise Forbidden(f"the template {template.name} is {template.owner_email}'s; they or an administrator delete it")
    engine.templates.remove(template, actor=principal.email)
    return template


def run_template(
    engine: Engine, email: str, name: str, changes: Mapping[str, Any], *, claim_as: str | None = None
) -> ExportJob:
    """Files the export that the template describes, with these changes for this once, for whoever runs it. Raises what
    `file_request` raises, NotFound."""
    template = _find(engine, identify(engine, email), name)
    request = replace(changed(template.request, changes), requested_by=email, template_id=template.id)
    return file_request(engine, request, claim_as=claim_as)


def changed(request: ExportRequest, changes: Mapping[str, Any]) -> ExportRequest:
    """The request with the fields that `changes` names: filters, masks and options by their names, conditions beside
    those that there are, the rest instead. The options of another format are forgotten."""
    kept = _defaults(request, ["options"] if changes.get("format", request.format) != request.format else [])
    merged = {name: {**getattr(kept, name), **changes[name]} for name in _MERGED if name in changes}
    more = {"conditions": (*kept.conditions, *changes["conditions"])} if "conditions" in changes else {}
    return replace(kept, **{**changes, **merged, **more})


def _defaults(request: ExportRequest, names: Collection[str]) -> ExportRequest:
    """The request with these fields as they are by default. Raises Rejected for a name that is no such field."""
    empty = ExportRequest(dataset=request.dataset, requested_by="")
    for name in names:
        if name not in RESETTABLE:
            raise Rejected(f"{name!r} is nothing that a template holds; it holds: {', '.join(RESETTABLE)}")
    return replace(request, **{name: getattr(empty, name) for name in names})


def _find(engine: Engine, principal: Principal, name: str) -> Template:
    owner, _, bare = name.rpartition("/")
    found = engine.templates.visible(principal, name=bare, owner=owner or None)
    own = [template for template in found if template.owner_id == principal.id]
    if len(own or found) > 1:
        addresses = ", ".join(template.address for template in found)
        raise Rejected(f"several people share a template {name!r}; say whose: {addresses}")
    if not found:
        raise NotFound(f"there is no template {name!r}; see `export-pipeline template list`")
    return (own or found)[0]


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Rejected(
            f"{name!r} is no name for a template: it has 1 to 63 letters, digits, spaces, points, hyphens and "
            "underscores, begins with a letter or a digit and does not end with a space"
        )
    return name
