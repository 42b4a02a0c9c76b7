"""Uses Horizon as somebody at a browser does: by its pages and forms."""

import html
import re

import requests

from altostratus import errors

_ANSWER_S = 60
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
# It needs no service but Keystone, and an administrator's rights.
_USERS = "identity/users/"


def login(url: str, username: str, password: str, verify: str | bool | None) -> None:
    """Log in, see the list of users, and log out.

    ``verify`` is what requests takes by this name. Raises :class:`errors.Error` if Horizon shows
    something else.
    """
    with requests.Session() as session:
        session.verify = verify
        form = _get(session, f"{url}/auth/login/")
        page = _post(session, form, form.url, {"username": username, "password": password})
        if not page.ok or "sessionid" not in session.cookies:
            raise errors.Error(f"{form.url} does not let {username} in: {page.status_code}")
        users = _get(session, f"{url}/{_USERS}")
        if "/auth/login/" in users.url or f">{username}<" not in users.text:
            raise errors.Error(f"{users.url} does not show the users")
        out = _post(session, users, f"{url}/auth/logout/", {})
        if not out.ok:
            raise errors.Error(f"{out.url} does not let {username} out: {out.status_code}")


def _post(
    session: requests.Session, page: requests.Response, url: str, fields: dict[str, str]
) -> requests.Response:
    """Send a form of a page, with what the page has hidden in it."""
    hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(page.text)}
    # Over TLS a form is taken only from the page that it is on.
    headers = {"Referer": page.url}
    return session.post(
        url, data=hidden | fields, headers=headers, timeout=_ANSWER_S, verify=session.verify
    )


def _get(session: requests.Session, url: str) -> requests.Response:
    # Said again with each request: the environment's bundle comes before the session's own.
    answer = session.get(url, timeout=_ANSWER_S, verify=session.verify)
    if not answer.ok:
        raise errors.Error(f"{url} answers {answer.status_code}")
    return answer
