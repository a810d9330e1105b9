"""What a customer is told: an inbox that can be read, and followed without missing anything."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, cast

import strawberry

from api.context import Info
from api.reading import reading
from api.rights import EVERYONE
from api.scalars import Position
from api.subscriptions import Gap, follow
from readmodels.notifications import NOTIFICATIONS, NotificationKind, inbox
from readmodels.notifications import Notification as NotificationView
from readmodels.page import Page

strawberry.enum(NotificationKind)


@strawberry.type
class Notification:
    """One message. Resume after `position`. `gap` is set where messages were lost to us both."""

    position: Position
    customer_id: strawberry.ID | None
    kind: NotificationKind | None
    order_id: strawberry.ID | None
    text: str
    at: datetime | None
    gap: Gap | None = None

    @classmethod
    def of(cls, position: int, view: NotificationView) -> "Notification":
        return cls(
            position=Position(position),
            customer_id=strawberry.ID(view.customer_id),
            kind=view.kind,
            order_id=strawberry.ID(view.order_id) if view.order_id else None,
            text=view.text,
            at=view.at,
        )


@strawberry.type
class InboxQuery:
    @reading(EVERYONE, "Messages after a position, oldest first.")
    async def inbox(
        self,
        info: Info,
        customer_id: strawberry.ID,
        after: Position | None = None,
        first: int = 20,
    ) -> list[Notification]:
        info.context.require_own(customer_id)
        query = inbox(customer_id, after or 0, Page(first=first))
        rows = await info.context.select(NOTIFICATIONS, query)
        return [Notification.of(row.position, row.view) for row in rows[:first]]


@strawberry.type
class InboxSubscription:
    @strawberry.subscription(
        metadata=EVERYONE,
        description="Every message of a customer (of all, for staff), in order; resumable.",
    )
    async def notifications(
        self,
        info: Info,
        customer_id: strawberry.ID | None = None,
        after: Position | None = None,
    ) -> AsyncGenerator[Notification, None]:
        if not info.context.is_staff():
            info.context.require_own(customer_id)
        async for change in follow(info, NOTIFICATIONS.name, customer_id, after):
            if isinstance(change, Gap):
                yield Notification(
                    position=change.to,
                    customer_id=None,
                    kind=None,
                    order_id=None,
                    text="Some messages cannot be told any more.",
                    at=None,
                    gap=change,
                )
            else:
                yield Notification.of(change.position, cast(Any, change.value))
