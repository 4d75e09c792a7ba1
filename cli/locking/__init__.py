"""locking: locks and semaphores in the KV store, in the layout of Consul's client library.

KV(client)          pairs by HTTP: blocking reads, acquire, release, check-and-set
Holder(client, ..)  a session that a thread keeps alive until it is ended
Mutex, Semaphore    `acquire`, `watch`, `release`, `destroy`; whoever uses the library contends with them
Stop                the wish to end, as a signal brings it
Child               the program that runs while the lock is held"""
