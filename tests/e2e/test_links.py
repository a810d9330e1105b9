"""Links in notices: whoever follows one learns at least what the notice tells of."""

from dataclasses import asdict

from domain.published import CARRIED, published
from domain.published_messages import Link, Notice
from domain.recorded import Recorded
from tests.e2e.buying import bought, log_of
from tests.e2e.server import Server
from tests.e2e.shop import Shop


def links(recorded: Recorded) -> list[Link]:
    """Those of its notices; what is told in full has none."""
    carried = CARRIED.get(recorded.stream.partition("-")[0])
    messages = published(recorded, carried.initial if carried else None)
    return [each.data.link for each in messages if isinstance(each.data, Notice)]


async def test_every_link_leads_to_what_it_is_about(shop: Shop, server: Server) -> None:
    order = await bought(shop)
    streams = [order.order_id, order.shipment_id, order.customer_id, f"product-{order.sku}"]
    async with log_of(server) as log:
        stored = await log.stored(0, stream={"$in": streams})
        found = [link for recorded in log.all_decoded(stored) for link in links(recorded)]
    assert {link.variables.id for link in found} == set(streams)
    for link in found:
        answer = await shop.staff.run(link.operation, **asdict(link.variables))
        (told,) = answer.values()
        assert told["id"] == link.variables.id
