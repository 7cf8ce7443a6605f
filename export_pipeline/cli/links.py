"""Commands about links that go through our door: serve them, see their use, end them."""

import click

from export_pipeline.cli.exports import as_option, json_option
from export_pipeline.cli.output import error_document, messages, print_json, print_rows, shown_moment
from export_pipeline.flow.links import Presigned, list_links, presigned_links, revoke_links
from export_pipeline.ledger.links import IssuedLink
from export_pipeline.model.errors import Rejected
from export_pipeline.services import open_services


@click.group()
def links() -> None:
    """Links to files that go through EXPORT_LINK_URL, so that their use is known and they can be revoked."""


@links.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65_535), help="0: any free one.")
def serve(host: str, port: int) -> None:
    """Serve the links, until Ctrl-C. This speaks plain HTTP: put a proxy with TLS before it, whose public address is
    EXPORT_LINK_URL, and have it write no access log of paths below /links."""
    from export_pipeline.web.serve import listen, log_to_stderr
    from export_pipeline.web.serve import serve as serve_links

    log_to_stderr()
    with open_services() as engine, listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        messages.print(f"serving links on http://{shown}:{listening.getsockname()[1]}   (Ctrl-C stops)", markup=False)
        if engine.settings.link_url is None:
            messages.print("EXPORT_LINK_URL is not set here: set it wherever links are made, or none leads here")
        serve_links(engine, listening)


@links.command(name="list")
@click.argument("export_id", metavar="ID")
@as_option
@json_option
def list_command(export_id: str, email: str, as_json: bool) -> None:
    """List the links that were made to an export's files: for whom, until when, how often used. Of those that the store
    presigned it is only known how many still work."""
    with open_services() as engine:
        found = list_links(engine, email, export_id)
        presigned = presigned_links(engine, email, export_id)
    if as_json:
        print_json(_documents(export_id, found, presigned))
        return
    _show(found)
    if presigned.count:
        messages.print(_told(export_id, presigned), markup=False, soft_wrap=True)


@links.command()
@click.argument("export_id", metavar="ID")
@as_option
@json_option
def revoke(export_id: str, email: str, as_json: bool) -> None:
    """Revoke all links to an export's files, and list those that worked until now. The files stay; whoever may can make
    new links. Ends with 2 where links that the store presigned still work: these cannot be revoked."""
    with open_services() as engine:
        found = revoke_links(engine, email, export_id)
        presigned = presigned_links(engine, email, export_id)
    left = Rejected(_told(export_id, presigned)) if presigned.count else None
    if as_json:
        print_json(_documents(export_id, found, presigned) | (error_document(left) if left else {}))
    else:
        _show(found)
        if left:
            messages.print(str(left), markup=False, soft_wrap=True)
    if left:
        raise SystemExit(left.exit_code)


COMMANDS = (links,)


def _told(export_id: str, presigned: Presigned) -> str:
    links = "1 link was" if presigned.count == 1 else f"{presigned.count:,} links were"
    return (
        f"{links} presigned by the store and cannot be revoked: whoever has one has the file, until "
        f"{shown_moment(presigned.until)} at the latest. To end that sooner, have the files deleted: "
        f"export-pipeline expire {export_id} --as EMAIL"
    )


def _documents(export_id: str, found: list[IssuedLink], presigned: Presigned) -> dict[str, object]:
    until = presigned.until.isoformat() if presigned.until else None
    return {
        "id": export_id,
        "links": [_document(link) for link in found],
        "presigned": {"links": presigned.count, "until": until},
    }


def _show(found: list[IssuedLink]) -> None:
    print_rows(
        ("link", "file", "for", "made", "works until", "uses", "last used", "revoked", "by"),
        (
            (
                link.id,
                link.filename,
                link.issued_to,
                shown_moment(link.issued_at),
                shown_moment(link.expires_at),
                link.uses,
                shown_moment(link.last_used_at),
                shown_moment(link.revoked_at),
                link.revoked_by,
            )
            for link in found
        ),
    )


def _document(link: IssuedLink) -> dict[str, object]:
    return {
        "link": link.id,
        "file": link.filename,
        "issued_to": link.issued_to,
        "issued_at": link.issued_at.isoformat(),
        "expires_at": link.expires_at.isoformat(),
        "uses": link.uses,
        "last_used_at": link.last_used_at.isoformat() if link.last_used_at else None,
        "revoked_at": link.revoked_at.isoformat() if link.revoked_at else None,
        "revoked_by": link.revoked_by,
    }
