"""Say something under a pull request of Gitea, once: python .ci/comment.py NUMBER <markdown

A comment whose first line is the same as that of the text is replaced. GITHUB_SERVER_URL and GITHUB_REPOSITORY are
those of the run; TOKEN may write issues. https://docs.gitea.com/api: issueGetComments, issueCreateComment,
issueEditComment.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx

PAGE = 50  # comments that Gitea gives at once, at most


def comments(gitea: httpx.Client, issue: str) -> Iterator[dict[str, Any]]:
    "All of them, page by page."
    for page in range(1, 1000):
        answer = gitea.get(f"{issue}/comments", params={"page": page, "limit": PAGE}).raise_for_status().json()
        yield from answer
        if len(answer) < PAGE:
            return


def say(
    gitea: httpx.Client,  # Signed in
    repository: str,  # owner/name
    number: int,  # Of the pull request
    text: str,
) -> str:  # Address of the comment
    "Write the comment, or write it anew."
    mark, issue = text.split("\n", 1)[0], f"/repos/{repository}/issues/{number}"
    seen: set[int] = set()
    for one in comments(gitea, issue):
        if one["id"] in seen:  # a server that gives no pages gives the first again
            break
        seen.add(one["id"])
        if str(one.get("body", "")).startswith(mark):
            there = f"/repos/{repository}/issues/comments/{int(one['id'])}"
            return gitea.patch(there, json={"body": text}).raise_for_status().json()["html_url"]
    return gitea.post(f"{issue}/comments", json={"body": text}).raise_for_status().json()["html_url"]


def main(number: int, text: str) -> int:
    try:
        server, repository, token = (os.environ[k] for k in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "TOKEN"))
    except KeyError as missing:
        print(f"comment: found no {missing}; expected the environment of a run of Gitea Actions", file=sys.stderr)
        return 2
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=f"{server.rstrip('/')}/api/v1", headers=headers, timeout=30) as gitea:
        try:
            print(say(gitea, repository, number, text))
        except httpx.HTTPError as error:
            print(f"comment: Gitea did not take it: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.stdin.read()))
