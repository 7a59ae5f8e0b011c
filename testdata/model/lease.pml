/*
 * The lease between two nodes, in ticks of discrete time.
 *
 * A node that holds the group sends a heartbeat every KEEPALIVE ticks and then renews its lease: an absolute instant, LEASE ticks after
 * that heartbeat was sent. The kernel ends the lease whatever becomes of the daemon. The other node takes the group over when it has heard
 * nothing for DEADTIME ticks. Nothing but messages passes between them.
 *
 * The property: never two leases in force (see judge). docs/safety.md says which promise rests on it, and which faults are left out:
 * a run has either daemons that freeze, die and come back at any moment (FREEZES), or links that lose one direction (ONEWAY); in both, up
 * to LOSS heartbeats in a row are lost and each takes up to one tick. Never are both directions lost for longer than that: two nodes that
 * cannot exchange anything cannot know of each other, and no lease helps.
 *
 * With the numbers below a lease is three fifths of the deadtime, a heartbeat goes every fifth of it, and a fifth is what a frame may take.
 * Without lost heartbeats a lease of four fifths holds as well; with one it does not: a daemon that sleeps just too short to notice, whose
 * next heartbeat is lost, and which then dies, has a lease that outlasts its peer's patience.
 *
 * The switches called mutations leave out one rule each; with any of them the property must fail, or the rule is not needed.
 */

#ifndef KEEPALIVE
#define KEEPALIVE 1
#endif
#ifndef LEASE
#define LEASE 3
#endif
#ifndef DEADTIME
#define DEADTIME 5
#endif
#ifndef LOSS
#define LOSS 1
#endif

#ifndef DEAF		/* not heard for longer than this: more than one heartbeat is missing */
#define DEAF (2 * KEEPALIVE)
#endif
#define NONE 255

/* what a node does with the group */
#define IDLE   0
#define HELD   1
#define LAPSED 2	/* holds it, but its lease ran out: mute until the peer has said that it took nothing */

#define OTHER(n) (1 - (n))

/* the machine's kernel: goes on whatever the daemon does */
byte lease[2];		/* ticks for which the group may still be answered for */
byte silent[2];		/* ticks since a message of the peer arrived, up to DEADTIME: only those in which the node was awake to hear it */

/* the daemon */
byte hold[2];
byte asleep[2];		/* AT_MOST_ONE: ticks slept since the peer was heard */
byte due[2];		/* ticks until the next heartbeat */
byte ran[2];		/* ticks since it last ran, up to DEADTIME */
byte prepared[2];	/* a renewal that was decided but not carried out: ticks until the instant that it names, or NONE */
byte cap[2];		/* one-way link: ticks for which the peer's word allows a lease, or NONE */
bool up[2], frozen[2];
bool offered[2];	/* gave the group away and waits for the peer to take it */

/* A message, on its way and in the queue of the peer's machine: what the sender holds; whether it offers the group; whether it answers the
 * receiver's present question, and whether it carries the sender's present one (in truth both are random numbers that are repeated); and
 * for how many more ticks the receiver may have a lease, if the sender has not heard it for too long, or NONE. */
typedef message { bool there; byte holds; bool offers, answers, asks; byte allows }
message flight[2];	/* sent by node n */
message inbox[2];	/* arrived at node n */
bool knows[2];		/* node n has heard the peer's present question */
byte lost[2];		/* messages of n that were lost in a row */
byte cut;		/* ONEWAY: whose messages are all lost, or NONE */

/* The property. It is looked at after everything that can change it. */
inline judge() { assert(!(lease[0] > 0 && lease[1] > 0)) }

inline clear(m) { m.there = false; m.holds = 0; m.offers = false; m.answers = false; m.asks = false; m.allows = 0 }

inline arrive(m)	/* the message that node m sent arrives at the other machine */
{
	inbox[OTHER(m)].there = true;
	inbox[OTHER(m)].holds = flight[m].holds;
	inbox[OTHER(m)].offers = flight[m].offers;
	inbox[OTHER(m)].answers = flight[m].answers;
	inbox[OTHER(m)].asks = flight[m].asks;
	inbox[OTHER(m)].allows = flight[m].allows;
	clear(flight[m]);
	silent[OTHER(m)] = 0;
	asleep[OTHER(m)] = 0
}

/* What becomes of a message, drawn before each turn: it arrives at once, with the next tick, or never. */
#define NOW   0
#define LATER 1
#define GONE  2
byte fate;
bool interrupted;	/* the daemon freezes between the heartbeat and the renewal */

inline draw(n)
{
	if
	:: fate = NOW
	:: fate = LATER
	:: lost[n] < LOSS -> fate = GONE
	fi;
	if
	:: interrupted = false
#ifdef FREEZES
	:: interrupted = true
#endif
	fi
}

inline send(n)
{
	flight[n].there = true;
	flight[n].holds = hold[n];
	flight[n].offers = offered[n];
	flight[n].answers = knows[n];
	flight[n].asks = true;
	flight[n].allows = (silent[n] <= DEAF -> NONE : (silent[n] < LEASE -> LEASE - silent[n] : 0));
	if
	:: cut == n || fate == GONE -> clear(flight[n]); if :: cut != n -> lost[n]++ :: else fi
	:: cut != n && fate == NOW -> lost[n] = 0; arrive(n)
	:: cut != n && fate == LATER -> lost[n] = 0
	fi
}

/* read takes the message that waits. */
inline read(n)
{
	if :: inbox[n].asks -> knows[n] = true :: else fi;
	cap[n] = inbox[n].allows;
#ifndef NO_CAP			/* mutation: a one-way link is nobody's business */
	if
	:: lease[n] > cap[n] -> lease[n] = cap[n]
	:: else
	fi;
#endif
#ifdef OLD_ANSWER		/* mutation: any statement of the peer is believed, not only an answer to the present question */
	if
	:: true ->
#else
	if
	:: inbox[n].answers ->
#endif
		if
		:: hold[n] == LAPSED && inbox[n].holds == IDLE && !inbox[n].offers -> hold[n] = HELD; due[n] = 0
		:: hold[n] == LAPSED && inbox[n].holds != IDLE -> hold[n] = IDLE
		:: hold[n] == IDLE && inbox[n].offers && (!offered[n] || n == 0) ->	/* both offer it: the first node takes it */
			hold[n] = HELD; offered[n] = false; due[n] = 0
		:: else
		fi
	:: else ->
		if
		:: hold[n] == LAPSED && inbox[n].holds == HELD -> hold[n] = IDLE
		:: else
		fi
	fi;
	if
	:: inbox[n].holds != IDLE -> offered[n] = false	/* it took what was offered */
	:: else
	fi;
	clear(inbox[n])
}

/* ask makes a new question: what was sent before neither carries nor answers it. */
inline ask(n)
{
	due[n] = 0;
	flight[n].asks = false; inbox[OTHER(n)].asks = false; knows[OTHER(n)] = false;
	flight[OTHER(n)].answers = false; inbox[n].answers = false
}

/* wake is what a daemon does first when it was asleep. */
inline wake(n)
{
	if
	:: ran[n] >= LEASE ->
		ask(n);			/* nothing that was said before is an answer */
#ifndef NO_LAPSE		/* mutation: a daemon goes on as if nothing had happened */
		if
		:: hold[n] != IDLE && ran[n] >= DEADTIME -> hold[n] = IDLE
		:: hold[n] == HELD && ran[n] < DEADTIME -> hold[n] = LAPSED
		:: else
		fi
#endif
	:: else
	fi
}

/* carry executes a renewal that was decided before. */
inline carry(n)
{
	if
	:: prepared[n] != NONE ->
#ifdef RELATIVE			/* mutation: the lease is a length, counted from when the kernel is told */
		lease[n] = LEASE;
#else
		lease[n] = prepared[n];
#endif
		prepared[n] = NONE;
		judge()
	:: else
	fi
}

/* renew decides a renewal: the instant is LEASE after the heartbeat just sent, or what a one-way link allows, while the peer is heard. */
inline renew(n)
{
	if
	:: hold[n] == HELD && lease[n] == 0 && started[n] && silent[n] < DEADTIME ->
#ifndef NO_LAPSE
		hold[n] = LAPSED; ask(n)
#else
		prepared[n] = LEASE
#endif
	:: hold[n] == HELD && !(lease[n] == 0 && started[n] && silent[n] < DEADTIME) ->
		started[n] = true;
		prepared[n] = LEASE;
#ifndef NO_CAP
		if
		:: cap[n] != NONE && silent[n] <= LEASE && cap[n] < prepared[n] -> prepared[n] = cap[n]
		:: else
		fi
#endif
	:: else -> started[n] = false
	fi
}
bool started[2];	/* the lease was in force since the node holds the group: if it is over now, it has lapsed */

/* work is one turn of a daemon's loop. It may freeze between the heartbeat and the renewal, and at the end. */
inline work(n)
{
	carry(n);
	wake(n);
	if
	:: inbox[n].there -> read(n)
	:: else
	fi;
	judge();
	if
	:: silent[n] >= DEADTIME && hold[n] != HELD ->	/* the peer is dead */
		hold[n] = HELD; started[n] = false; offered[n] = false; due[n] = 0
	:: else
	fi;
	if
	:: hold[n] != HELD -> started[n] = false
	:: else
	fi;
	if
	:: due[n] == 0 ->
#ifdef RENEW_FIRST		/* mutation: the renewal goes before the heartbeat that it rests on */
		renew(n); carry(n);
		if
		:: interrupted -> frozen[n] = true
		:: else -> due[n] = KEEPALIVE; send(n)
		fi
#else
		due[n] = KEEPALIVE;
		send(n);
		renew(n);
		if
		:: interrupted -> frozen[n] = true	/* with the renewal in its hands */
		:: else -> carry(n)
		fi
#endif
	:: else
	fi;
	ran[n] = 0;
	judge()
}

/* give hands the group over: the lease ends, then the peer is told. */
inline give(n)
{
	hold[n] = IDLE; offered[n] = true; prepared[n] = NONE; started[n] = false;
	ask(n);
#ifndef KEEP_LEASE		/* mutation: the lease of a group that was given away runs on */
	lease[n] = 0
#else
	skip
#endif
}

/* die ends the daemon: what its machine's kernel holds goes on, what it knew and what waited for it is lost. */
inline die(n)
{
	up[n] = false; frozen[n] = false; hold[n] = IDLE; prepared[n] = NONE; cap[n] = NONE; due[n] = 0; ran[n] = 0;
	offered[n] = false; knows[n] = false; started[n] = false; silent[n] = 0;
	clear(inbox[n])
}

/* restart: the new daemon goes on with a lease in force; else it is mute, and asks. */
inline restart(n)
{
	up[n] = true; silent[n] = 0;
	ask(n);
#ifdef ADOPT_ALWAYS		/* mutation: what runs here is served, whatever became of the lease */
	hold[n] = HELD
#else
	hold[n] = (lease[n] > 0 -> HELD : LAPSED);
	started[n] = (lease[n] > 0)
#endif
}

#define COUNT(x) if :: x > 0 && x != NONE -> x-- :: else fi
#define AGE(x)   if :: x < DEADTIME -> x++ :: else fi

inline tick(n)
{
	if :: flight[n].there -> arrive(n) :: else fi;
	COUNT(lease[n]); COUNT(due[n]); COUNT(prepared[n]); COUNT(cap[n]);
	if
	:: up[n] -> AGE(ran[n]);
#ifdef DEAF_COUNTS		/* mutation: silence counts while the node itself is asleep */
		AGE(silent[n])
#elif defined(AT_MOST_ONE)	/* mutation: the own sleep extends the peer's time by one DEADTIME at most */
		if
		:: !frozen[n] -> AGE(silent[n])
		:: frozen[n] && asleep[n] < DEADTIME -> asleep[n]++
		:: else -> AGE(silent[n])
		fi
#else
		if
		:: !frozen[n] -> AGE(silent[n])
		:: else
		fi
#endif
	:: else
	fi;
	COUNT(inbox[n].allows)
}

/* turn is what one daemon does in one tick: nothing, if it is frozen or dead. */
inline turn(n)
{
	if
	:: !up[n] -> skip
#ifdef FREEZES
	:: !up[n] -> d_step { restart(n) }
	:: up[n] && frozen[n] -> skip
	:: up[n] && !frozen[n] -> frozen[n] = true
	:: up[n] -> d_step { die(n) }
#endif
	:: up[n] && !frozen[n] && hold[n] == HELD && silent[n] <= KEEPALIVE -> draw(n); d_step { give(n); work(n); fate = NOW; interrupted = false }
	:: up[n] -> draw(n); d_step { frozen[n] = false; work(n); fate = NOW; interrupted = false }
	fi
}

/* What a run must be able to reach, or the property holds for want of anything happening. */
#ifndef REACH
#define REACH 0
#endif
inline reached()
{
#if REACH == 1	/* taken over from a node that is frozen */
	assert(!(lease[1] > 0 && frozen[0]))
#elif REACH == 2	/* lapsed, and asking a peer that lives */
	assert(!(up[0] && hold[0] == LAPSED && silent[0] == 0))
#elif REACH == 3	/* the lease of a daemon that is dead */
	assert(!(lease[0] > 0 && !up[0]))
#elif REACH == 4	/* handed over, both awake */
	assert(!(lease[1] > 0 && up[0] && !frozen[0] && silent[0] == 0 && silent[1] <= KEEPALIVE))
#elif REACH == 5	/* a lease that a one-way link has cut short */
	assert(!(cut != NONE && hold[0] != IDLE && lease[0] == 0))
#else
	skip
#endif
}

bool zeroFirst;	/* which of the two runs first in this tick */

init {
	atomic {
		up[0] = true; up[1] = true;
		prepared[0] = NONE; prepared[1] = NONE; cap[0] = NONE; cap[1] = NONE; cut = NONE;
		hold[0] = HELD; lease[0] = LEASE; started[0] = true; due[0] = KEEPALIVE; due[1] = 1;
		skip
	};
	do
	:: atomic {
		d_step { tick(0); tick(1) };
#ifdef ONEWAY
		if
		:: cut = 0
		:: cut = 1
		:: cut = NONE
		:: skip
		fi;
#endif
		if
		:: zeroFirst = true
		:: zeroFirst = false
		fi
	   };
	   if
	   :: zeroFirst -> atomic { turn(0) }; atomic { turn(1) }
	   :: else -> atomic { turn(1) }; atomic { turn(0) }
	   fi;
	   atomic {
		zeroFirst = false;
		judge();
		reached()
	   }
	od
}
