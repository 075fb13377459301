import { amount, hectares, integer, season } from './format'

// Every English word that the page shows, but for names and reasons that come from the service.

export const strings = {
  product: 'geocrop',
  skip: 'Skip to content',
  loading: 'Loading…',
  close: 'Close',
  again: 'Try again',
  pageTitle: (place = ''): string => {
    const { nav, product } = strings
    return place in nav && place !== 'map' ? `${nav[place as keyof typeof nav]} · ${product}` : product
  },
  nav: { label: 'Main', map: 'Map', jobs: 'My maps', about: 'How it works' },

  connection: {
    down: 'The service does not answer. Nothing you entered is lost; this page goes on by itself when it is back.',
    back: 'The service is back.',
  },

  errors: {
    unknown: (status: number) => `The service answered with an error (${status}).`,
    broken: 'Something went wrong on this page.',
    brokenRemedy: 'Reload the page. What you entered is kept.',
    retryIn: (seconds: number) => `Trying again in ${seconds} s.`,
    remedy: (status: number): string => {
      if (status === 404) return 'It may have been deleted. Look at your list of maps.'
      if (status === 422 || status === 400) return 'Change the area or the season and try again.'
      if (status === 429) return 'Wait a little and try again.'
      if (status === 503) return 'A part of the service is busy or away. Try again in a minute.'
      return 'Try again. If it stays, tell whoever runs the service what you did.'
    },
    notFound: 'There is no such page.',
    toMap: 'Go to the map',
  },

  account: {
    signIn: 'Sign in',
    signOut: 'Sign out',
    label: 'Account',
    name: 'Name',
    password: 'Password',
    title: 'Sign in',
    wanted: 'Land cover is open to everybody. To make and keep crop maps, sign in.',
    expired: 'Your session has ended. Sign in again to go on where you stopped; your area is kept.',
    wrong: 'Name or password is not right. Check both; capitals matter.',
    waiting: 'Signing in…',
    roles: { admin: 'Administrator', recruiter: 'Guest' },
    used: (used: number, allowed: number) =>
      `${used} of ${allowed} maps used, ${Math.max(0, allowed - used)} left`,
    unlimited: (used: number) => (used === 1 ? '1 map made, no limit' : `${integer(used)} maps made, no limit`),
    needed: 'Sign in to see this map.',
  },

  map: {
    label: 'Map. Arrow keys move it, plus and minus zoom, Enter asks about the pixel under the cross.',
    labelPlan: 'Map. Arrow keys move it, plus and minus zoom.',
    zoomIn: 'Zoom in',
    zoomOut: 'Zoom out',
    sheet: { label: 'Panel', more: 'Show more of the panel', less: 'Show more of the map' },
    drawCircle: 'Click the centre, then the edge.',
    drawPolygon: 'Click the corners one by one; click the first again to finish.',
    stopDrawing: 'Stop drawing',
    swipe: 'Divider between land cover, left, and crop map, right',
    before: 'Land cover',
    after: 'Crop map',
  },

  plan: {
    title: 'Make a crop map',
    lead: 'Choose a season and an area. You get the crop of every 10 m pixel, and how sure that is.',
    season: 'Season',
    seasonHint: 'September to May. Seasons with a dot can be mapped.',
    canMap: 'can be mapped',
    notMapped: (year: number, others: number[]) =>
      `There are no Sentinel-2 scenes of ${season(year)} here, so only its land cover can be seen. ` +
      (others.length ? `Crop maps can be made for ${others.map(season).join(', ')}.` : ''),
    use: (year: number) => `Use ${season(year)}`,
    area: 'Area',
    shape: 'Shape of the area',
    circle: 'Circle',
    polygon: 'Polygon',
    lon: 'Longitude',
    lat: 'Latitude',
    radius: 'Radius, m',
    geojson: 'GeoJSON polygon',
    geojsonHint: 'Paste a polygon in longitude, latitude (WGS 84), or draw one.',
    draw: 'Draw it',
    redraw: 'Draw anew',
    here: 'Use the view',
    clear: 'Clear',
    size: 'Size',
    nothing: 'Type the numbers, draw on the map, or use what is in view.',
    quote: 'What to expect',
    quoteSignIn: 'Sign in to see how long it takes and how much will be seen.',
    quoteWaiting: 'Estimating…',
    quoteAway: 'There is no estimate at the moment. You can make the map without it.',
    takes: 'Takes about',
    between: (low: string, high: string) => (low === high ? low : `${low} to ${high}`),
    starts: 'Starts',
    now: 'at once',
    startsIn: (time: string) => `in about ${time}`,
    ahead: (jobs: number) => (jobs === 1 ? '1 map is ahead of yours' : `${integer(jobs)} maps are ahead of yours`),
    clearDays: 'Clear days expected',
    scenes: 'Scenes read',
    scenesOf: (scenes: number, gigabytes: number) => `${integer(scenes)}, ${amount(gigabytes)} GB`,
    fewClearDays: 'Little will be seen through the clouds: expect pixels without a class.',
    submit: 'Make the map',
    signInAndSubmit: 'Sign in and make the map',
    submitting: 'Sending…',
  },

  area: {
    problems: {
      lon: (text: string) =>
        text.trim() ? `Longitude is ${text}: give degrees from -180 to 180, with a point, such as 31.05.`
          : 'Give the longitude of the centre in degrees, such as 31.05.', // prettier-ignore
      lat: (text: string) =>
        text.trim() ? `Latitude is ${text}: give degrees from -90 to 90, south negative, such as -17.83.`
          : 'Give the latitude of the centre in degrees, south negative, such as -17.83.', // prettier-ignore
      radius: (text: string, { min, max }: { min: number; max: number }) =>
        (text.trim() ? `Radius is ${text}: ` : 'Radius is missing: ') +
        `give metres from ${integer(min)} to ${integer(max)}, such as 1000.`,
      tooLarge: (found: number, most: number) =>
        `The area has ${hectares(found)}; one map has at most ${hectares(most)}. Make it smaller, or make several maps.`,
      outside: ([west, south, east, north]: readonly number[]) =>
        `There are no scenes at this place. Choose land inside the dashed outline: longitude ${west?.toFixed(2)} to ` +
        `${east?.toFixed(2)}, latitude ${south?.toFixed(2)} to ${north?.toFixed(2)}.`,
      swapped: 'Longitude and latitude seem to have changed places. Longitude comes first, such as 31.05, -17.83.',
      json: 'This is no JSON. Paste a whole GeoJSON polygon, from the first { to the last }.',
      noPolygon: 'This GeoJSON holds no single polygon. Paste one geometry of type Polygon, or one feature with it.',
      open: 'A ring of the polygon is open. It needs four positions or more, the last equal to the first.',
      degrees: 'Positions must be degrees of longitude and latitude (WGS 84), longitude first.',
    },
  },

  job: {
    title: (year: number) => `Crop map ${season(year)}`,
    made: (time: string) => `Requested ${time}`,
    model: (name: string, version: string) => `Model ${name}, version ${version}`,
    status: { accepted: 'Waiting', running: 'Running', successful: 'Ready', failed: 'Failed', dismissed: 'Cancelled' },
    progress: 'Progress',
    waiting: 'Waiting for a free worker',
    elapsed: (time: string) => `${time} so far`,
    attempt: (attempt: number) => `Attempt ${attempt}: the worker before was lost, and nothing of the job with it.`,
    stay: 'You can close this page. The map will be in your list.',
    cancel: 'Cancel',
    cancelled: 'This job was cancelled before it was done.',
    failed: 'No map could be made',
    change: 'Change the area',
    rerun: 'Run it again',
    other: 'New map',
    loadingResults: 'Fetching the map…',
    announce: (status: string, progress: number) => `${status}, ${progress} percent`,
  },

  result: {
    show: 'Show',
    class: 'Crop',
    confidence: 'Confidence',
    opacity: 'Opacity of the crop map',
    swipe: 'Compare with land cover, side by side',
    legend: 'What grows where',
    name: 'Class',
    hectares: 'Hectares',
    interval: '95 % interval',
    estimated: 'Estimated from a survey on the ground; the line is the 95 % interval.',
    counted: 'Counted in pixels.',
    refused: 'No intervals:',
    reason: 'Why',
    accuracy: (value: string, low: string, high: string, units: number) =>
      `${value} of the land is mapped right (95 % interval ${low} to ${high}; ${integer(units)} places visited).`,
    confidenceLegend: 'Calibrated probability of the class: of pixels at 80 %, eight in ten are right.',
    unsure: 'unsure',
    sure: 'sure',
    facts: 'Quality',
    meanConfidence: 'Mean confidence',
    clearDays: 'Median clear days',
    withoutClass: 'Without a class',
    likeTraining: 'Like the training fields',
    downloads: 'Download',
    files: {
      map: 'Map, GeoTIFF',
      statistics: 'Statistics, JSON',
      item: 'STAC item, JSON',
      style: 'Colours for QGIS',
    },
    saving: 'Saving…',
  },

  point: {
    title: 'This pixel',
    hint: 'Click the map to ask about a pixel.',
    where: (lon: string, lat: string) => `${lon}, ${lat}`,
    none: 'No class here: too few clear days, or outside the mapped area.',
    confidence: 'Confidence',
    margin: 'Ahead of the runner-up by',
    clearDays: 'Clear days',
    applicable: 'Like the training fields',
    yes: 'yes',
    no: 'no, take it with care',
    unknown: 'not known',
    points: (value: number) => `${value} points`,
    asking: 'Asking…',
    curve: 'Its season',
    curveAsking: 'Reading the season of this pixel…',
    ndvi: 'NDVI',
    clear: 'clear',
    cloudy: 'cloudy, not used',
    curveSummary: (clear: number, all: number, peak: string, day: string) =>
      `NDVI of this pixel over the season: ${clear} of ${all} dates are clear; it peaks at ${peak} on ${day}.`,
    curveAway: 'The season of this pixel cannot be read at the moment.',
    curveNone: 'No clear date in this season.',
    remove: 'Remove the mark',
  },

  baseline: {
    title: (year: number) => `Land cover ${season(year)}`,
    source: (title: string, source: string) => `${title}. Source: ${source}.`,
    missing: (year: number) => `No land cover is stored for ${season(year)}.`,
  },

  jobs: {
    title: 'My maps',
    lead: 'Every map you asked for, the newest first.',
    signIn: 'Sign in to see your maps.',
    none: 'You have made no map yet.',
    first: 'Make the first one',
    open: 'Open',
    cancel: 'Cancel',
    again: 'Make it again',
    change: 'Change and repeat',
    more: 'Show older ones',
    loading: 'Loading your maps…',
    circle: (lon: string, lat: string, radius: string) => `Circle at ${lon}, ${lat}, radius ${radius} m`,
    polygon: (corners: number) => `Polygon with ${corners} corners`,
  },

  about: {
    label: 'How it works',
    empty: 'empty',

    architecture: {
      title: 'System architecture',
      lead: 'A thin service over a library. The service keeps promises about jobs; everything it knows about crops, it asks the library.',
      diagram: 'Diagram of the parts',
      caption: 'Solid lines carry data. Dashed lines only say that there is something to do, and may be lost.',
      summary:
        'The map and other programs talk to the API over HTTP. The API keeps jobs in the database, wakes workers through ' +
        'the queue, reads tiles and files from the object store, and asks the answering side for quotes and curves. ' +
        'Workers claim jobs in the database, read scenes from the Sentinel-2 archive and write results to the store.',
      boxes: {
        map: { title: 'The map', lines: ['React, OpenLayers', 'in the browser'] },
        programs: { title: 'Programs', lines: ['OGC, STAC and QGIS', 'clients'] },
        api: { title: 'API', lines: ['FastAPI', '', 'signs in, checks,', 'keeps jobs, draws tiles', '', 'no numba, no boosters,', '512 MB'] },
        database: { title: 'Database', lines: ['users, jobs: the truth'] },
        queue: { title: 'Queue', lines: ['wakes, holds nothing'] },
        store: { title: 'Object store', lines: ['models, baselines, maps'] },
        answers: { title: 'Answers', lines: ['the model, in memory'] },
        worker: { title: 'Worker', lines: ['claims, watches, verifies', '', 'a runner in a process', 'of its own reads scenes', 'and makes the map', '', '2 GB'] },
        archive: { title: 'Sentinel-2 archive', lines: ['STAC catalogue and Cloud Optimized GeoTIFFs'] },
      },
      arrows: {
        http: 'HTTP, events',
        ogc: 'OGC, STAC',
        rows: 'jobs, users',
        wakes: 'wakes',
        tiles: 'tiles, files',
        quotes: 'quotes',
        claims: 'claims, beats',
        results: 'results',
        curves: 'season of a pixel',
        scenes: 'scenes',
      },
      sections: [
        {
          title: 'What each part may know',
          text: [
            'The API imports three modules of the library: the schema, the settings and the store. It starts in seconds, lives in half a gigabyte, and cannot be blocked by a computation, because it has none. Tiles and single pixels are read from the finished map by rio-tiler, the engine of TiTiler, with nearest sampling: a class is never a mixture of its neighbours.',
            'Everything that needs the science at once, such as quotes, season curves and rows of features, is answered by a small process on the worker’s side. When it is away, the API says so and jobs go on.',
            'The worker supervises and the runner computes. The runner is a process of its own, kept warm between jobs; if it hangs, grows too large or crashes, it is killed, its log is kept, and the worker takes the next job.',
          ],
        },
        {
          title: 'The way of a map',
          text: [
            'A request is checked and written into the database before it is accepted; from then on it ends in a final state. A worker claims it with a lease, finds the scenes of the season, reads them window by window, computes 51 features for every pixel, asks the ensemble, and writes a Cloud Optimized GeoTIFF with five bands: class, confidence, margin, clear days, and whether the model knows land like this.',
            'The files go to the store under the job and the attempt, are read back, and compared by checksum. Only then does one database transaction point to them. There is no moment at which half a map can be seen.',
          ],
        },
      ],
      states: {
        title: 'The states of a job',
        text: [
          'The database row is the truth; the queue only wakes. Every change of state is one transaction that asks whether the attempt is still the current one, so a worker that was thought dead cannot publish over its successor. Leases are measured by the clock of the database.',
        ],
        caption:
          'A job is accepted, claimed and running, and then successful, failed or cancelled. A lost worker gives it back.',
        boxes: {
          accepted: { title: 'accepted', lines: ['in the database'] },
          running: { title: 'running', lines: ['leased to one worker,', 'which keeps saying', 'that it lives'] },
          successful: { title: 'successful', lines: ['checksums verified'] },
          failed: { title: 'failed', lines: ['reason and log kept'] },
          dismissed: { title: 'dismissed', lines: ['within a heartbeat'] },
        },
        arrows: {
          claimed: 'claimed',
          lost: 'lease over: again',
          published: 'published once',
          givenUp: 'attempts used up',
          cancelled: 'cancelled',
        },
      },
      http: {
        title: 'Interface',
        text: [
          'The same routes serve this page and every other client. The full document, with examples, is at /openapi.json.',
        ],
        head: ['Path', 'Method', 'What it is'],
      },
    },

    infrastructure: {
      title: 'Infrastructure design',
      lead: 'One code base in two shapes: everything on one machine with nothing to install, or a stack of servers. Only settings differ.',
      shapes: {
        title: 'Two shapes of the same service',
        text: [
          'The embedded shape is not a demonstration mode. The tests of reliability run on both, with a real Redis, a real PostgreSQL and a real S3 server.',
        ],
        head: ['Part', 'Embedded: geocrop serve', 'Grown up'],
        rows: [
          ['Database', 'SQLite, write-ahead log', 'PostgreSQL with PostGIS'],
          ['Queue', 'none: workers look into the database', 'Redis and RQ, to wake workers at once'],
          ['Store', 'a folder', 'S3 or MinIO'],
          ['Imagery', 'a simulated season with known truth', 'Digital Earth Africa, by STAC'],
          ['Tracking', 'a local MLflow database', 'an MLflow server'],
          ['Country-wide maps', 'Dask on one machine', 'a Dask cluster, or one pod for each tile'],
          ['Key of the tokens', 'made at the first start, kept beside the database', 'given; too short or well known: refused'],
        ],
      },
      sections: [
        {
          title: 'Processes and limits',
          text: [
            'The API lives in 512 MB. A worker and its runner live in 2 GB whatever the area, because a map is made window by window. Both limits are held by tests.',
            'SIGTERM drains: the API finishes its requests and the worker its job. A worker that is killed instead loses its lease, and the job runs again elsewhere.',
          ],
        },
        {
          title: 'Network and trust',
          text: [
            'The page loads nothing from another host: no tile server, no font, no script. A content security policy holds it to that. No address that a user gives is ever fetched, and tiles come from the configured buckets only.',
            'Passwords are hashed with argon2, a few at a time so that a rush of logins cannot take the memory. Tokens are signed with one fixed algorithm, expire, and are sent in a header; there is no cookie to be abused by another site. Another user’s job is not forbidden, it does not exist.',
          ],
        },
      ],
      settings: {
        title: 'Settings of the service',
        text: [
          'Keys of settings.ini, read from its source for this page. Each can be given by the environment as GEOCROP_SECTION_KEY; an unknown key is an error.',
        ],
        head: ['Key', 'Default', 'Meaning'],
      },
      cluster: {
        title: 'Objects in the cluster',
        text: ['Manifests in the repository, for maps of whole countries.'],
        head: ['Name', 'Kind', 'File'],
      },
      packages: {
        title: 'Built on',
        text: ['Versions as they are locked, each with its checksum.'],
      },
    },

    workflow: {
      title: 'MLOps workflow',
      lead: 'From labelled fields to a model that may make maps: stages that run again only when something they read has changed.',
      graph: 'Graph of the pipeline',
      caption:
        'Read from dvc.yaml. Each line carries what a stage makes to the stages that read it; on the right, the files.',
      source: 'a STAC catalogue, and fields that somebody visited',
      summary: (stages: string[]) => `Stages of the pipeline in order: ${stages.join(', ')}.`,
      sections: [
        {
          title: 'One command, the same bytes',
          text: [
            'dvc repro runs the stages. Each is a notebook that defines nothing: paths, a few calls of the library, a figure. The executed notebook is kept as a report, free of timestamps, so that a second run on the same inputs makes the same bytes, map included.',
            'A stage watches exactly the modules that it imports, directly or not; a test compares. Changing a comment in an unrelated module runs nothing, and changing the cloud mask runs everything behind it.',
          ],
        },
        {
          title: 'From model to service',
          text: [
            'A model is a folder: native files of three boosters, a page that lists them with checksums, the order of its 51 features, its legend, its calibration. Nothing in it is a pickle. The gate judges it by rules and against the champion. What passes can be published to the store as a version, and the champion’s name pointed at it.',
            'Workers notice the move between two jobs. A job states the model it was accepted with, and finishes on that one.',
          ],
        },
      ],
      stages: {
        title: 'Stages',
        text: [],
        head: ['Stage', 'What it does', 'Modules it watches', 'Parameters'],
      },
      gate: {
        title: 'How good, and who says so',
        score: (block: Score, random: Score) =>
          `In land where no field was known, the model reaches a macro F1 of ${block.macro_f1.toFixed(2)} ` +
          `(95 % interval ${block.low.toFixed(2)} to ${block.high.toFixed(2)}). Asked about random pixels, whose ` +
          `neighbours it has seen, the same model would score ${random.macro_f1.toFixed(2)}. The first number is the one ` +
          'that holds for a map, and the one that the gate judges.',
        text: [],
        head: ['Rule', 'Found', 'Expected', 'Verdict'],
        passed: 'passed',
        failed: 'failed',
      },
      library: {
        title: 'The library by floors',
        text: [
          'Notebooks are the source; the package is exported from them. A module imports only from lower floors, and a test reads the imports.',
        ],
        head: ['Module', 'Floor', 'What it is about'],
      },
    },

    decisions: {
      title: 'Decisions and trade-offs',
      lead: 'What was chosen, what it is good for, and what it costs.',
      price: 'The price:',
      list: [
        {
          title: 'The database is the truth, the queue only wakes',
          why: 'A queue that holds jobs can lose them: its server restarts, a worker dies with a job in hand. Here a job is a row. Redis may be emptied at any moment; a reconciler finds what was left lying and wakes somebody.',
          price: 'One more query for each claim, and a waiting time of one reconcile interval where a wake-up is lost.',
        },
        {
          title: 'Executed at least once, published exactly once',
          why: 'Nobody can promise that a computation runs once on machines that fail. What can be promised is that its result counts once: every attempt has a number, and only the current one may publish.',
          price: 'A job whose worker is lost late is computed a second time from the beginning.',
        },
        {
          title: 'An API without science',
          why: 'The boosters and numba would make the API slow to start, hungry, and as fragile as the heaviest computation in it. It imports three small modules instead, and a test keeps it so.',
          price: 'Quotes, curves and inference need a second process, and one hop over the loopback.',
        },
        {
          title: 'A runner that may be killed',
          why: 'Native code that hangs cannot be interrupted from within. The runner is a process of its own that a watchdog kills at the deadline; the worker itself survives and tells the reason.',
          price: 'The model is loaded once for each runner, which is then kept warm between jobs.',
        },
        {
          title: 'The embedded shape runs the same code',
          why: 'A person with one laptop gets the real service, not a toy. And what is tested on a laptop is what runs in a cluster.',
          price: 'Every query must be right on SQLite and on PostgreSQL, and is tested on both.',
        },
        {
          title: 'Hectares with an interval, or the reason why not',
          why: 'Pixels that are counted carry every confusion of the model. An area is given an interval only where a probability survey of the ground stands behind it; otherwise the map says that it is a count.',
          price: 'Most maps show no interval, and say so.',
        },
        {
          title: 'A model is a folder, never a pickle',
          why: 'A pickle is a program. Native booster files with a page of checksums can be inspected, verified, and read by any later version.',
          price: 'Trees are read by code of our own, checked against each library prediction by prediction.',
        },
        {
          title: 'Progress by events, with polling below it',
          why: 'The page reads server-sent events with fetch, so that the token stays in a header. Between two streams it asks for the status; where a proxy holds streams back, that is polling.',
          price: 'A reader behind such a proxy hears of progress every two seconds instead of at once.',
        },
        {
          title: 'No foreign tile server',
          why: 'Land cover, crop map, a grid of degrees and the scale say where one is. The page works in a ministry without an internet connection, and tells no third party what is being looked at.',
          price: 'No roads and no place names unless whoever runs the service adds a background of their own.',
        },
        {
          title: 'Everything that is typed is kept',
          why: 'Drawing and typing write the same text, which outlives a reload, an expired session and an absent service. A request that meets a closed door waits and is sent again, under the same key, so that it makes one job.',
          price: 'An area stays in the tab until it is changed, also for the next person at the same machine.',
        },
      ],
    },

    observability: {
      title: 'Observability',
      lead: 'What the service tells about itself, to machines and to people.',
      metrics: {
        title: 'Metrics',
        text: [
          'Prometheus reads /metrics. Requests are timed under their route, not their address, so that nobody can create new series by asking for strange paths. Workers come and go, so nobody asks them: what becomes of jobs and maps is counted in the database, in the transaction in which it happens, and told when Prometheus asks. Beside these there are the usual numbers of the process: memory, processor time, open files.',
        ],
        head: ['Metric', 'Kind', 'What it says'],
      },
      sections: [
        {
          title: 'Probes',
          text: [
            '/healthz touches nothing but the process itself: a database that is away is no reason to restart an API that works. /readyz asks the database, and reports as degraded what else is missing. /system tells the state of each part, and is what the live status page shows.',
          ],
        },
        {
          title: 'Logs',
          text: [
            'Every attempt of every job has its own log, which holds what the runner and its libraries printed, up to the last line before a crash. It is kept in the store beside the results, also when the attempt failed.',
            'On a terminal lines are for people. In a cluster each is a document of JSON that names the job and the trace it belongs to.',
            'Errors reach clients as problem documents that name the thing, what was found, what was expected and what to do. What is no business of the client’s goes to the log alone.',
          ],
        },
        {
          title: 'Traces',
          text: [
            'Where a collector is named (OpenTelemetry, OTLP over HTTP), one trace goes from the request through worker and runner to each window of the map. It is kept with the job, so that a second attempt by another worker is in the same trace. Where none is named, no tracer is even loaded.',
          ],
        },
        {
          title: 'Jobs and models',
          text: [
            'Where an MLflow server is configured, each job is logged with its area, its scenes, its duration and its model. A server that is slow or away costs a job nothing. Each map states in its own tags which model, scenes and code made it, so that it can be made again and compared byte by byte.',
          ],
        },
        {
          title: 'What to be woken for',
          text: [
            'The age of the oldest waiting job says more than the length of the queue: it grows when workers are too few, stuck or gone. The share of failed jobs, the slowest hundredth of requests by route, and a database that does not answer are the other three.',
            'Whether requests are answered is watched as an error budget over 30 days, in several windows at once. Each rule is tested: once where it fires, once where it is silent.',
          ],
        },
      ],
    },

    status: {
      title: 'Live system status',
      lead: 'Each part of this service, as the service itself finds it now.',
      asking: 'Asking…',
      unreachable: 'The service cannot be reached.',
      verdict: {
        ok: 'Everything works',
        degraded: 'Something is missing; jobs that are accepted are still kept',
        away: 'The service does not answer',
      },
      states: { ok: 'works', off: 'not used here', away: 'does not answer', unknown: 'not known' },
      services: {
        api: { name: 'API', is: 'Signs in, keeps jobs, draws tiles' },
        database: { name: 'Database', is: 'Users and jobs' },
        queue: { name: 'Queue', is: 'Wakes workers; without it they look for themselves' },
        store: { name: 'Object store', is: 'Models, baselines and maps' },
        workers: { name: 'Workers', is: 'Make the maps' },
        answers: { name: 'Answers', is: 'Quotes, season curves, inference' },
      },
      alive: (count: number) => (count === 1 ? '1 alive' : `${integer(count)} alive`),
      answered: (ms: number) => `answered in ${ms} ms`,
      since: (time: string) => `since ${time}`,
      checked: 'Checked',
      ago: (seconds: number) => (seconds < 2 ? 'just now' : `${seconds} s ago`),
      every: (seconds: number) => `Looks again every ${seconds} s.`,
    },
  },
} as const

interface Score {
  macro_f1: number
  low: number
  high: number
}
