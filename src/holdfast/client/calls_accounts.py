"""Who may do what: sessions, accounts, tokens, certificates. Written by scripts/make-client."""

from collections.abc import Sequence
from typing import Unpack

from holdfast.api.answers import (
    AuditLine,
    Authority,
    Joined,
    Me,
    Said,
    SessionAnswer,
    SessionLine,
    TokenLine,
    UserAnswer,
    UserLine,
)
from holdfast.api.operations.terms import Outcome
from holdfast.api.operations.trust import TokenView, TrustView
from holdfast.api.paging import Page
from holdfast.client.calls import Calls, Tried, given
from holdfast.client.paths import part


class AccountsCalls(Calls):
    """Who may do what: sessions, accounts, tokens, certificates."""

    def logout(self) -> Said:
        """End the session that the request came with. An API token is not ended so: revoke it."""
        return self.ask(Said, "POST", "/logout")

    def get_session(self) -> SessionAnswer:
        """Who asks, and which node answers."""
        return self.ask(SessionAnswer, "GET", "/session")

    def get_me(self) -> Me:
        """Who asks and what they may do: `permissions` are those of the role, as far as the token's scopes hold them."""
        return self.ask(Me, "GET", "/me")

    def list_my_sessions(self) -> list[SessionLine]:
        """Where oneself is logged in."""
        return self.ask(list[SessionLine], "GET", "/me/sessions")

    def end_my_other_sessions(self, **terms: Unpack[Tried]) -> Outcome:
        """All but the one that asks."""
        return self.ask(Outcome, "DELETE", "/me/sessions", **terms)

    def end_my_session(self, session_id: str, **terms: Unpack[Tried]) -> Outcome:
        """End one of them."""
        return self.ask(Outcome, "DELETE", f"/me/sessions/{part(session_id)}", **terms)

    def set_password(self, name: str, *, password: str, old: str | None = None, **terms: Unpack[Tried]) -> Outcome:
        """Set a password; all sessions of the account end, and a browser that changes its own gets a new one. Whoever is not
        root on a node must say their own present password."""
        return self.ask(
            Outcome, "PUT", f"/users/{part(name)}/password", body=given(password=password, old=old), **terms
        )

    def list_users(self) -> list[UserLine]:
        """By name."""
        return self.ask(list[UserLine], "GET", "/users")

    def get_user(self, name: str) -> UserAnswer:
        """The account with its sessions."""
        return self.ask(UserAnswer, "GET", f"/users/{part(name)}")

    def create_user(self, *, name: str, role: str, password: str, **terms: Unpack[Tried]) -> Outcome:
        """A new account."""
        return self.ask(Outcome, "POST", "/users", body=given(name=name, role=role, password=password), **terms)

    def change_user(
        self, name: str, *, role: str | None = None, disabled: bool | None = None, **terms: Unpack[Tried]
    ) -> Outcome:
        """Another role, closed or open; all sessions of the account end."""
        return self.ask(Outcome, "PUT", f"/users/{part(name)}", body=given(role=role, disabled=disabled), **terms)

    def delete_user(self, name: str, **terms: Unpack[Tried]) -> Outcome:
        """With its API tokens and sessions."""
        return self.ask(Outcome, "DELETE", f"/users/{part(name)}", **terms)

    def end_user_sessions(self, name: str, **terms: Unpack[Tried]) -> Outcome:
        """End all sessions of an account, however many there are."""
        return self.ask(Outcome, "DELETE", f"/users/{part(name)}/sessions", **terms)

    def unlock_user(self, name: str, **terms: Unpack[Tried]) -> Outcome:
        """Forget the wrong passwords that were tried for the account."""
        return self.ask(Outcome, "POST", f"/users/{part(name)}/unlock", **terms)

    def list_tokens(self) -> list[TokenLine]:
        """One's own API tokens; an administrator sees all. Never the tokens themselves."""
        return self.ask(list[TokenLine], "GET", "/tokens")

    def create_token(
        self,
        *,
        name: str,
        scopes: Sequence[str],
        days: int | None = None,
        owner: str | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """`data.token` is the API token: it is shown only now."""
        return self.ask(
            Outcome, "POST", "/tokens", body=given(name=name, scopes=scopes, days=days, owner=owner), **terms
        )

    def revoke_token(self, token_id: str, **terms: Unpack[Tried]) -> Outcome:
        """One's own API token, or anybody's as an administrator: it opens nothing from now on."""
        return self.ask(Outcome, "DELETE", f"/tokens/{part(token_id)}", **terms)

    def list_audit(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        who: str | None = None,
        operation: str | None = None,
        key: str | None = None,
        since: str | None = None,
    ) -> Page[AuditLine]:
        """Newest first: changes with what was there before and after, logins, failed ones, refusals. Filters: whose, which
        operation, part of a changed key, since when (ISO 8601 UTC or its beginning)."""
        return self.ask(
            Page[AuditLine],
            "GET",
            "/audit",
            query=given(limit=limit, cursor=cursor, who=who, operation=operation, key=key, since=since),
        )

    def list_join_tokens(self) -> Page[TokenView]:
        """Join tokens that can still be used, without their secrets."""
        return self.ask(Page[TokenView], "GET", "/tokens/join")

    def revoke_join_token(self, token_id: str, **terms: Unpack[Tried]) -> Outcome:
        """Nobody joins by it any more."""
        return self.ask(Outcome, "DELETE", f"/tokens/join/{part(token_id)}", **terms)

    def get_authority(self) -> Authority:
        """The certificates of the cluster's authority. Public: who asks compares fingerprints."""
        return self.ask(Authority, "GET", "/join/authority")

    def join(self, *, id: str, secret: str, request: str, sealing_key: str) -> Joined:
        """A machine with a join token becomes the node that it is for. Public: the token is what counts."""
        return self.ask(
            Joined, "POST", "/join", body=given(id=id, secret=secret, request=request, sealing_key=sealing_key)
        )

    def get_certificates(self) -> TrustView:
        """The authority, what each node has, and how far a change of the authority is."""
        return self.ask(TrustView, "GET", "/certificates")

    def renew_certificates(self, **terms: Unpack[Tried]) -> Outcome:
        """Every node renews its certificate now, by itself and without any restart."""
        return self.ask(Outcome, "POST", "/certificates/renew", **terms)

    def rotate_authority(self, **terms: Unpack[Tried]) -> Outcome:
        """Begin the change of the cluster's authority: old and new are trusted side by side until every node has changed."""
        return self.ask(Outcome, "POST", "/certificates/authority", **terms)
