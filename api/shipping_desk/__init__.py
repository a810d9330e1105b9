"""The shipping desk: another system, which keeps a copy of what it needs of ours.

It is a process of its own with a database of its own, and it knows us by our published contract
only. What goes to and fro:

1. Fat messages (`tidings.customers`, `tidings.products`) keep its copy of addresses and names. A
   tombstone takes a person out of it.
2. A thin message (an order is confirmed) is a reason to ask: the desk sends us the GraphQL
   operation that came with it, and books the shipment when it has the answer.
3. A parcel that is sent or has arrived is entered at the desk first, and reported to us as the
   commands `sendShipment` and `recordArrival`, in the order in which it happened. Their ids are
   derived from what they say, so that a report that is sent twice counts once.
4. While we are away it goes on answering, labelling and sending; questions and reports wait.

`shipments` holds the rules, `copies` and `calls` say what messages and answers mean (all pure);
`store` keeps it all, `listening` and `calling` are the two loops, `schema` is what people use.
"""
