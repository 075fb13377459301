import { amount, hectares, integer, season } from './format'

// Every English word that the page shows, but for names and reasons that come from the service.

export const strings = {
  product: 'geocrop',
  skip: 'Skip to content',
  loading: 'Loading…',
  close: 'Close',
  again: 'Try again',
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
    curveNone: 'No clear date in this season.',
    remove: 'Remove the mark',
  },

  baseline: {
    title: (year: number) => `Land cover ${season(year)}`,
    product: 'Dynamic World',
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
} as const
